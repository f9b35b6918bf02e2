//! What people write about a password: networks and times, and what can be a password at all.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretSlice;

use crate::protocol::Protocol;

/// A window is for a device that somebody stands beside, or that does something every day.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// A network, or one address.
///
/// # Errors
/// In words, if it is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>();
    let net = net.or_else(|_| text.parse::<IpAddr>().map(|at| at.to_canonical().into()));
    net.map(|net| net.trunc())
        .map_err(|_| "a network is wanted, as 192.0.2.0/24, or an address".into())
}

/// When a password ends.
///
/// # Errors
/// In words, if it is no time, or one that is over.
pub fn expiry(text: &str) -> Result<Timestamp, String> {
    expiry_after(text, now())
}

/// How long a window is open.
///
/// # Errors
/// In words, if it is no time, or longer than a day.
pub fn window(text: &str) -> Result<SignedDuration, String> {
    let length = span(text).filter(|length| *length <= LONGEST_WINDOW);
    length.ok_or_else(|| "a time is wanted, as 10m or 1h, up to 24h".into())
}

/// To the second, as people read it.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Where a password is good, in words: `smtp from 192.0.2.0/24, 2001:db8::/32`.
pub fn good_for(protocol: Option<Protocol>, from: &[IpNet]) -> String {
    let protocol = protocol.map_or("any protocol", Protocol::word);
    let from: Vec<_> = from.iter().map(written).collect();
    match from.as_slice() {
        [] => format!("{protocol} from anywhere"),
        from => format!("{protocol} from {}", from.join(", ")),
    }
}

/// A network of one address is written as that address.
fn written(net: &IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

/// Octets of the longest password: it must fit into a line of every dialogue, also as base64.
pub const PASSWORD_MAX: usize = 1024;

/// What somebody typed as a password, if a mail program can present it.
///
/// # Errors
/// In words, if none can.
pub fn typed(octets: &[u8]) -> Result<SecretSlice<u8>, &'static str> {
    match octets {
        [] => Err("the first line is empty"),
        octets if octets.len() > PASSWORD_MAX => Err("it is longer than 1024 octets"), // PASSWORD_MAX,
        octets
            if octets
                .iter()
                .any(|octet| matches!(octet, 0 | b'\r' | b'\n')) =>
        {
            Err("it holds NUL or an end of line")
        }
        octets => Ok(octets.to_vec().into()),
    }
}

fn expiry_after(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let end = day(text)
        .or_else(|| text.parse().ok())
        .or_else(|| now.checked_add(span(text)?).ok());
    match end {
        Some(end) if end > now => Ok(end),
        Some(_) => Err("this is over already".into()),
        None => {
            Err("a last day is wanted, as 2027-01-31, or a time from now, as 30d or 12h".into())
        }
    }
}

/// The end of a day. A machine's own time zone is no matter of a record that outlives it, so days are those of UTC.
fn day(text: &str) -> Option<Timestamp> {
    let day: Date = (text.len() == "2027-01-31".len()).then(|| text.parse().ok())??;
    let end = day.tomorrow().ok()?.at(0, 0, 0, 0);
    Some(end.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// A whole number and a unit.
fn span(text: &str) -> Option<SignedDuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let seconds = number.parse::<i64>().ok()?.checked_mul(seconds)?;
    (seconds > 0).then(|| SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_ends_after_its_last_day_or_after_a_time() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        for (text, end) in [
            ("2027-01-31", "2027-02-01T00:00:00Z"),
            ("2026-11-24", "2026-11-25T00:00:00Z"),
            ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
            ("30d", "2026-12-24T10:00:00Z"),
            ("12h", "2026-11-24T22:00:00Z"),
            ("2w", "2026-12-08T10:00:00Z"),
        ] {
            let end = end.parse().unwrap();
            assert_eq!(expiry_after(text, now), Ok(end), "{text}");
        }
        for odd in [
            "",
            "d",
            "0d",
            "-1d",
            "30",
            "1.5d",
            "1y",
            "31.1.2027",
            "2027-02-30",
            "2026-11-23",
            "9999999999999999999d",
            "999999999999w",
        ] {
            assert!(expiry_after(odd, now).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_window_is_not_open_for_days() {
        assert_eq!(window("10m"), Ok(SignedDuration::from_mins(10)));
        assert!(window("24h").is_ok());
        for odd in ["25h", "2d", "0m", "ten"] {
            assert!(window(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        for (text, net) in [
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), net);
        }
    }
}
