//! Which hosts take a domain's mail (MX, RFC 1035 §3.3.9): one question to the system's resolver, when somebody allowed it.
//!
//! The answer is only a hint, shown to whoever asked; nothing is sent to the hosts in it. So one datagram has to do: no retries, no TCP,
//! no DNSSEC.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long a resolver may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Octets of a datagram without extensions (RFC 1035 §4.2.1), and room for resolvers that send more.
const MAX_REPLY: usize = 4096;
/// Octets of a name in text (RFC 1035 §2.3.4), and so the most labels and pointers that make one.
const MAX_NAME: usize = 255;

const TYPE_MX: u16 = 15;
const CLASS_IN: u16 = 1;

/// The hosts, the preferred first; empty if there are none.
///
/// # Errors
/// If no resolver is known or none answers.
pub fn hosts(domain: &str) -> io::Result<Vec<String>> {
    let mut outcome = Err(io::Error::other("no resolver of this system is known"));
    for resolver in resolvers() {
        outcome = ask(resolver, domain, PATIENCE);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The resolvers of `/etc/resolv.conf`; none on systems without it.
fn resolvers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    resolvers_in(&text)
}

fn resolvers_in(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        words.next()?.parse::<IpAddr>().ok()
    });
    addresses.map(|address| (address, 53).into()).collect()
}

fn ask(resolver: SocketAddr, domain: &str, patience: Duration) -> io::Result<Vec<String>> {
    let id = u16::try_from(getrandom::u32().map_err(io::Error::other)? & 0xffff)
        .map_err(io::Error::other)?;
    let no_domain = || io::Error::new(io::ErrorKind::InvalidInput, "this is no domain");
    let question = question(id, domain).ok_or_else(no_domain)?;
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Only datagrams of the resolver are received then.
    socket.connect(resolver)?;
    socket.send(&question)?;
    let end = Instant::now() + patience;
    let mut buffer = [0; MAX_REPLY];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        // What answers another question is not for us.
        if let Some(hosts) = answer(&buffer[..length], &question) {
            return Ok(hosts);
        }
    }
}

/// A question for MX records, recursion desired (RFC 1035 §4.1).
fn question(id: u16, domain: &str) -> Option<Vec<u8>> {
    let url::Host::Domain(domain) = url::Host::parse(domain).ok()? else {
        return None;
    };
    let mut message = [id.to_be_bytes(), [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]].concat();
    for label in domain.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..64).contains(n))?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend([TYPE_MX, CLASS_IN].into_iter().flat_map(u16::to_be_bytes));
    (domain.len() <= MAX_NAME).then_some(message)
}

/// The hosts in an answer to `question`, the preferred first; `None` if it is not one.
fn answer(reply: &[u8], question: &[u8]) -> Option<Vec<String>> {
    let is_answer = reply.get(..2)? == question.get(..2)? && reply.get(2)? & 0x80 != 0;
    let is_same = reply
        .get(12..question.len())?
        .eq_ignore_ascii_case(question.get(12..)?);
    if !is_answer || !is_same {
        return None;
    }
    let mut at = question.len();
    let mut hosts = Vec::new();
    for _ in 0..number(reply, 6)? {
        let Some(record) = record(reply, at) else {
            break;
        };
        at = record.end;
        hosts.extend(record.host);
    }
    hosts.sort();
    Some(hosts.into_iter().map(|(_, host)| host).collect())
}

/// A resource record (RFC 1035 §4.1.3): where it ends, and what it says if it is of the kind that was asked for.
struct Record {
    end: usize,
    host: Option<(u16, String)>,
}

fn record(reply: &[u8], at: usize) -> Option<Record> {
    let (_, at) = name(reply, at)?;
    let is_mx = number(reply, at)? == TYPE_MX && number(reply, at + 2)? == CLASS_IN;
    let data = at + 10;
    let end = data + usize::from(number(reply, at + 8)?);
    let host = match is_mx {
        true => Some((number(reply, data)?, name(reply, data + 2)?.0)),
        false => None,
    };
    (end <= reply.len()).then_some(Record { end, host })
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let octets = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([octets[0], octets[1]]))
}

/// A name, with the pointers in it followed (RFC 1035 §4.1.4), and where it ends in the message.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut end = None;
    for _ in 0..MAX_NAME {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some((text, end.unwrap_or(at + 1))),
            1..64 => {
                let label = message.get(at + 1..at + 1 + length)?;
                let is_plain = |c: &u8| c.is_ascii_alphanumeric() || b"-_".contains(c);
                if !label.iter().all(is_plain) || text.len() + length > MAX_NAME {
                    return None;
                }
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().map(|&octet| char::from(octet)));
                at += 1 + length;
            }
            192.. => {
                end.get_or_insert(at + 2);
                at = usize::from(number(message, at)? & 0x3fff);
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `question` with these records after it.
    fn reply(question: &[u8], count: u8, records: &[u8]) -> Vec<u8> {
        let mut reply = [question, records].concat();
        reply[2] |= 0x80;
        reply[7] = count;
        reply
    }

    fn mx(preference: u8, host: &[u8]) -> Vec<u8> {
        let length = u8::try_from(host.len() + 2).expect("short");
        let head = [0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, length, 0, preference];
        [&head[..], host].concat()
    }

    #[test]
    fn hosts_come_in_the_order_of_preference_and_pointers_are_followed() {
        let question = question(7, "contoso.com").expect("a question");
        // "mx" + a pointer to "contoso.com"; then a whole name.
        let records = [
            mx(20, b"\x02mx\xc0\x0c"),
            mx(5, b"\x05aspmx\x01l\x06google\x03com\x00"),
        ];
        let hosts = answer(&reply(&question, 2, &records.concat()), &question);
        assert_eq!(
            hosts.expect("hosts"),
            ["aspmx.l.google.com", "mx.contoso.com"]
        );
    }

    #[test]
    fn what_answers_another_question_is_no_answer() {
        let ours = question(7, "contoso.com").expect("a question");
        let records = mx(5, b"\x04evil\x00");
        for other in [question(8, "contoso.com"), question(7, "contoso.org")] {
            let other = other.expect("a question");
            assert_eq!(answer(&reply(&other, 1, &records), &ours), None);
        }
        assert_eq!(answer(&ours, &ours), None, "an echo");
    }

    #[test]
    fn a_name_that_turns_in_a_circle_ends() {
        let question = question(7, "a.example").expect("a question");
        let at = u8::try_from(question.len() + 14).expect("short");
        let circle = mx(5, &[0xc0, at]);
        assert_eq!(
            answer(&reply(&question, 1, &circle), &question),
            Some(vec![])
        );
    }

    proptest! {
        #[test]
        fn no_reply_is_more_than_it_can_hold(tail in prop::collection::vec(any::<u8>(), 0..600), count: u8) {
            let question = question(7, "contoso.com").expect("a question");
            let hosts = answer(&reply(&question, count, &tail), &question).expect("an answer");
            prop_assert!(hosts.len() <= 600 / 13);
            for host in hosts {
                prop_assert!(host.len() <= 2 * MAX_NAME && host.is_ascii());
            }
        }
    }

    #[test]
    fn a_resolver_is_asked_once_and_waited_for() {
        let resolver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = resolver.local_addr().expect("an address");
        let asked = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = resolver.recv_from(&mut buffer).expect("a question");
            let question = &buffer[..length];
            let stray = [&[!question[0]], &question[1..]].concat();
            for message in [stray, reply(question, 1, &mx(5, b"\x02mx\xc0\x0c"))] {
                resolver.send_to(&message, from).expect("sent");
            }
            question.to_vec()
        });
        let hosts = ask(address, "bücher.example", PATIENCE).expect("hosts");
        assert_eq!(hosts, ["mx.xn--bcher-kva.example"]);
        let question = asked.join().expect("asked");
        assert_eq!(question[question.len() - 4..], [0, 15, 0, 1]);
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = silent.local_addr().expect("an address");
        assert!(ask(address, "a.example", Duration::from_millis(20)).is_err());
    }

    #[test]
    fn resolvers_are_read_as_the_system_reads_them() {
        let text = "# nameserver 192.0.2.9\nsearch x\nnameserver 127.0.0.53\nnameserver ::1\nnameserver x\n";
        let found = resolvers_in(text);
        let expected = ["127.0.0.53:53", "[::1]:53"].map(|text| text.parse().expect("an address"));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_domain_is_not_asked_for() {
        for domain in [
            "",
            "192.0.2.1",
            "a..b",
            "a b",
            &"x".repeat(64),
            &"a.".repeat(200),
        ] {
            assert_eq!(question(1, domain), None, "{domain}");
        }
    }
}
