//! TLS towards the mail program: when it begins, what may be said before it, and what is answered to whoever gets it wrong.

use std::fs;
use std::sync::Arc;

use mailwicket::protocol::Protocol;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};

use super::house::{House, Plan};
use super::mail_program::MailProgram;
use super::scripts::*;
use super::upstream::{Step, Upstream, hear, say, wait};
use super::words::PASSWORD;

const IMPLICIT: &str = "tls = \"implicit\"";
const STARTTLS: &str = "tls = \"starttls\"";
const AUTO: &str = "tls = \"auto\"";

/// A program that nobody but its own start ever made dial.
fn house(protocol: Protocol, listener: &'static str) -> (Upstream, House) {
    with_more(protocol, listener, "")
}

fn with_more(protocol: Protocol, listener: &'static str, more: &'static str) -> (Upstream, House) {
    let upstream = Upstream::start(vec![visitor(protocol)]);
    let plan = Plan {
        listener,
        more,
        ..Plan::new(protocol)
    };
    let house = House::open(&plan, &upstream);
    (upstream, house)
}

/// A program that lets somebody in and passes a line on; `more` happens at the mail server afterwards.
fn serving(plan: &Plan, more: Vec<Step>) -> (Upstream, House) {
    let talk = vec![hear("x COMMAND"), say("x ANSWER\r\n")];
    let visit = [lets_in(plan.protocol, 1), talk, more].concat();
    let upstream = Upstream::start(vec![visitor(plan.protocol), visit]);
    let house = House::open(plan, &upstream);
    (upstream, house)
}

/// A client that trusts these certificates, and nobody else.
fn trusting(pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client that trusts what `ca export` gives out.
fn client(house: &House) -> Arc<ClientConfig> {
    Arc::new(trusting(&house.command(&["ca", "export"])))
}

/// Asks for the handshake in clear, up to the answer.
fn asks_for_tls(program: &mut MailProgram, protocol: Protocol, is_required: bool) {
    let login = if is_required {
        "LOGINDISABLED"
    } else {
        "AUTH=PLAIN AUTH=LOGIN"
    };
    match protocol {
        Protocol::Imap => {
            program.hears(format!(
                "* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR STARTTLS {login}] mailwicket ready\r\n"
            ));
            program.says("s STARTTLS\r\n");
            program.hears("s OK Begin TLS now.\r\n");
        }
        Protocol::Pop3 => {
            program.hears("+OK mailwicket ready\r\n");
            program.says("STLS\r\n");
            program.hears("+OK Begin TLS now.\r\n");
        }
        Protocol::Smtp => {
            program.hears("220 localhost ESMTP mailwicket\r\n");
            program.says("STARTTLS\r\n");
            program.hears("220 2.0.0 Ready to start TLS.\r\n");
        }
    }
}

/// Hears the greeting, if there is one, and logs in.
fn logs_in(program: &mut MailProgram, protocol: Protocol, is_greeted: bool) {
    if is_greeted {
        greets(program, protocol);
    } else if protocol == Protocol::Smtp {
        program.says("EHLO vm\r\n");
        program.hears("250-localhost\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN\r\n");
    }
    program.says(login(protocol, PASSWORD));
    program.hears(welcome(protocol));
    program.says("x COMMAND\r\n");
    program.hears("x ANSWER\r\n");
}

#[test]
fn a_login_works_in_every_way_that_a_listener_offers() {
    for protocol in PROTOCOLS {
        for (listener, asks) in [
            (IMPLICIT, None),
            (AUTO, None),
            (AUTO, Some(false)),
            (STARTTLS, Some(true)),
        ] {
            let plan = Plan {
                listener,
                ..Plan::new(protocol)
            };
            let (upstream, house) = serving(&plan, vec![Step::Close]);
            let client = client(&house);
            let mut program = house.visit();
            if let Some(is_required) = asks {
                asks_for_tls(&mut program, protocol, is_required);
            }
            program.secures(&client, "localhost").unwrap();
            logs_in(&mut program, protocol, asks.is_none());
            program.is_dismissed();
            drop(program);
            upstream.is_done();
            assert!(
                house
                    .log()
                    .contains(listener.replace([' ', '"'], "").as_str())
            );
            house.close();
        }
    }
}

#[test]
fn auto_takes_a_login_in_clear_from_this_machine_and_starttls_only_from_where_it_is_allowed() {
    let lists = [
        AUTO,
        "tls = \"starttls\"\nallow-plaintext-from = \"127.0.0.0/8\"",
    ];
    for listener in lists {
        let plan = Plan {
            listener,
            ..Plan::new(Protocol::Imap)
        };
        let (upstream, house) = serving(&plan, vec![Step::Close]);
        let mut program = house.visit();
        program.hears("* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR STARTTLS AUTH=PLAIN AUTH=LOGIN] mailwicket ready\r\n");
        logs_in(&mut program, Protocol::Imap, false);
        program.is_dismissed();
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_password_in_clear_never_reaches_its_check_where_tls_is_required() {
    for (protocol, answer) in [
        (
            Protocol::Imap,
            "a NO [PRIVACYREQUIRED] Encryption required; switch STARTTLS on in the mail program (MW-TLS)\r\n",
        ),
        (
            Protocol::Pop3,
            "-ERR Encryption required; switch STLS (STARTTLS) on in the mail program (MW-TLS)\r\n",
        ),
        (
            Protocol::Smtp,
            "538 5.7.11 Encryption required; switch STARTTLS on in the mail program (MW-TLS)\r\n",
        ),
    ] {
        let (upstream, house) = house(protocol, STARTTLS);
        let mut program = house.visit();
        let heard_first = match protocol {
            Protocol::Imap => {
                "* OK [CAPABILITY IMAP4rev1 IDLE SASL-IR STARTTLS LOGINDISABLED] mailwicket ready\r\n"
            }
            Protocol::Pop3 => "+OK mailwicket ready\r\n",
            Protocol::Smtp => "220 localhost ESMTP mailwicket\r\n",
        };
        program.hears(heard_first);
        if protocol == Protocol::Smtp {
            program.says("EHLO vm\r\n");
            program.hears("250-localhost\r\n250-SIZE 1000\r\n250 STARTTLS\r\n");
        }
        program.says(login(protocol, PASSWORD));
        program.hears(answer);
        drop(program);
        house.says("MW-TLS");
        upstream.is_done();
        assert!(!house.log().contains("stage=password"), "{}", house.log());
        house.close();
    }
}

#[test]
fn bytes_behind_starttls_close_the_connection_without_a_handshake() {
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00".as_slice();
    for protocol in PROTOCOLS {
        let command: &[u8] = match protocol {
            Protocol::Imap => b"s STARTTLS\r\n",
            Protocol::Pop3 => b"STLS\r\n",
            Protocol::Smtp => b"STARTTLS\r\n",
        };
        let (upstream, house) = house(protocol, STARTTLS);
        for behind in [
            hello,
            b"NOOP\r\n",
            login(protocol, PASSWORD).as_bytes(),
            b"\r",
        ] {
            let mut program = house.visit();
            program.says([command, behind].concat());
            let heard = program.hears_out();
            let lines = heard.iter().filter(|octet| **octet == b'\n').count();
            assert_eq!(lines, 1, "only the greeting: {}", heard.escape_ascii());
        }
        house.says("bytes in clear came behind STARTTLS");
        // What comes in clear after the answer is no ClientHello, and nothing else either.
        let mut program = house.visit();
        asks_for_tls(&mut program, protocol, true);
        program.says(login(protocol, PASSWORD));
        let heard = program.hears_out();
        assert!(
            heard.is_empty() || heard[0] == 21,
            "an alert or nothing: {}",
            heard.escape_ascii()
        );
        house.says("no secured connection");
        upstream.is_done();
        assert!(!house.log().contains("stage=password"), "{}", house.log());
        house.close();
    }
}

#[test]
fn a_program_without_tls_hears_on_a_tls_port_what_to_set() {
    for (protocol, answer) in [
        (
            Protocol::Imap,
            "* BYE This port speaks TLS from the first byte; set the mail program to SSL/TLS. (MW-TLS)\r\n",
        ),
        (
            Protocol::Pop3,
            "-ERR [SYS/PERM] This port speaks TLS from the first byte; set the mail program to SSL/TLS. (MW-TLS)\r\n",
        ),
        (
            Protocol::Smtp,
            "421 4.7.0 This port speaks TLS from the first byte; set the mail program to SSL/TLS. (MW-TLS)\r\n",
        ),
    ] {
        let (upstream, house) = with_more(protocol, IMPLICIT, "[timeouts]\ntls = \"1s\"");
        let mut talker = house.visit();
        talker.says("EHLO vm\r\n");
        talker.hears(answer);
        talker.is_hung_up_on();
        let mut waiter = house.visit(); // for a greeting
        waiter.hears(answer);
        waiter.is_hung_up_on();
        house.says("set its encryption to \"SSL/TLS\"");
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_program_with_tls_is_named_on_a_port_without() {
    for (protocol, listener) in [(Protocol::Imap, ""), (Protocol::Smtp, STARTTLS)] {
        let (upstream, house) = house(protocol, listener);
        let client = Arc::new(trusting(""));
        house.visit().secures(&client, "localhost").unwrap_err();
        house.says("speaks TLS from the first byte, and this port does not");
        upstream.is_done();
        house.close();
    }
}

#[test]
fn a_program_that_is_too_old_is_told_so_and_named_in_the_log() {
    let (upstream, house) = house(Protocol::Smtp, AUTO);
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 47, 1, 0]);
    let length = body.len() as u8;
    let hello = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length], &body[..]].concat();
    let oldest = [0x80, 0x1c, 1, 0, 2, 0, 3, 0, 0, 0, 0x10, 1, 0, 0x80];
    let oldest = [&oldest[..], &[9; 16]].concat();
    for (hello, version) in [(hello, "TLS 1.0"), (oldest, "SSL 2")] {
        let mut device = house.visit();
        device.says(hello);
        device.hears([21, 3, 1, 0, 2, 2, 70]); // protocol_version
        device.is_hung_up_on();
        house.says(&format!("offers nothing newer than {version}"));
    }
    assert!(house.log().contains("allow-plaintext-from"));
    upstream.is_done();
    house.close();
}

#[test]
fn whoever_distrusts_the_certificate_or_wants_another_protocol_is_named_with_the_remedy() {
    let (upstream, house) = house(Protocol::Imap, IMPLICIT);
    let stranger = Arc::new(trusting(""));
    house.visit().secures(&stranger, "localhost").unwrap_err();
    house.says("does not trust the certificate");
    assert!(house.log().contains("mailwicket ca export"));
    let ca = house.command(&["ca", "export"]);
    let mut browser = trusting(&ca);
    browser.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    house
        .visit()
        .secures(&Arc::new(browser), "localhost")
        .unwrap_err();
    house.says("another protocol (ALPN)");
    let mut modern = trusting(&ca);
    modern.alpn_protocols = vec![b"imap".to_vec()];
    house
        .visit()
        .secures(&Arc::new(modern), "localhost")
        .unwrap();
    // The name is not what decides: old devices send the one of the provider.
    let mut odd = trusting(&ca);
    odd.enable_sni = false;
    house.visit().secures(&Arc::new(odd), "127.0.0.1").unwrap();
    upstream.is_done();
    house.close();
}

#[test]
fn a_second_connection_resumes_the_first() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (upstream, house) = house(Protocol::Imap, IMPLICIT);
        let ca = house.command(&["ca", "export"]);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Arc::new(client);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut program = house.visit();
            program.secures(&client, "localhost").unwrap();
            program.hears("* OK"); // the ticket comes with it
            let made = program.tls().handshake_kind();
            let is_full = matches!(
                made,
                Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
            );
            assert_eq!(is_full, kind == HandshakeKind::Full, "{version:?} {made:?}");
        }
        upstream.is_done();
        house.close();
    }
}

/// A certificate for localhost that signs itself, and its key.
fn own() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn files_that_change_are_taken_up_while_a_session_goes_on() {
    let (first, first_key) = own();
    let (second, second_key) = own();
    let plan = Plan {
        listener: "tls = \"implicit\"\ncertificate = { file = \"own.pem\", key = { file = \"own.key\" } }",
        files: vec![("own.pem", first.clone()), ("own.key", first_key)],
        ..Plan::new(Protocol::Imap)
    };
    let more = vec![hear("y COMMAND"), say("y ANSWER\r\n"), Step::Close];
    let talk = vec![hear("x COMMAND"), say("x ANSWER\r\n")];
    let visit = [lets_in(plan.protocol, 1), talk, more].concat();
    // The reload asks for the capabilities again.
    let visitor = || visitor(plan.protocol);
    let upstream = Upstream::start(vec![visitor(), visit, visitor()]);
    let house = House::open(&plan, &upstream);
    let (old, new) = (Arc::new(trusting(&first)), Arc::new(trusting(&second)));
    let mut program = house.visit();
    program.secures(&old, "localhost").unwrap();
    logs_in(&mut program, Protocol::Imap, true);
    house.visit().secures(&new, "localhost").unwrap_err();
    fs::write(house.file("own.pem"), &second).unwrap();
    let is_noticed = || {
        house.visit().secures(&old, "localhost").unwrap();
        house
            .log()
            .contains("was not taken up; the former one stays in force")
    };
    wait(is_noticed, "a look at the files");
    fs::write(house.file("own.key"), &second_key).unwrap();
    let is_new = || house.visit().secures(&new, "localhost").is_ok();
    wait(is_new, "the new certificate");
    house.reload();
    house.visit().secures(&new, "localhost").unwrap();
    program.says("y COMMAND\r\n");
    program.hears("y ANSWER\r\n");
    program.is_dismissed();
    upstream.is_done();
    house.close();
}

#[test]
fn a_rotated_ca_is_taken_up_while_a_session_goes_on() {
    let plan = Plan {
        listener: IMPLICIT,
        ..Plan::new(Protocol::Imap)
    };
    let more = vec![hear("y COMMAND"), say("y ANSWER\r\n"), Step::Close];
    let (upstream, house) = serving(&plan, more);
    let old = house.command(&["ca", "export"]);
    let mut program = house.visit();
    program
        .secures(&Arc::new(trusting(&old)), "localhost")
        .unwrap();
    logs_in(&mut program, Protocol::Imap, true);
    let status = house.command(&["status"]);
    assert!(status.contains("tls implicit"), "{status}");
    house.command(&["ca", "rotate"]);
    let new = client(&house);
    wait(
        || house.visit().secures(&new, "localhost").is_ok(),
        "the new CA",
    );
    let old = Arc::new(trusting(&old)); // without the tickets of the first
    house.visit().secures(&old, "localhost").unwrap_err();
    program.says("y COMMAND\r\n");
    program.hears("y ANSWER\r\n");
    program.is_dismissed();
    upstream.is_done();
    house.close();
}

#[test]
fn der_and_pem_are_the_same_certificate() {
    let (_upstream, house) = house(Protocol::Imap, IMPLICIT);
    let pem = house.command(&["ca", "export"]);
    let file = house.file("ca.der");
    let printed = house.command(&["ca", "export", "--der", "--out", file.to_str().unwrap()]);
    assert_eq!(printed, "");
    let from_pem = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(from_pem.as_ref(), fs::read(file).unwrap());
    house.close();
}

#[test]
fn whoever_opens_a_handshake_and_says_nothing_makes_room_for_the_next() {
    let limit = "[limits]\nbefore-login-per-source = 1";
    for protocol in PROTOCOLS {
        let (upstream, house) = with_more(protocol, IMPLICIT, limit);
        let mut silent = house.visit();
        let _next = house.visit();
        silent.is_hung_up_on();
        upstream.is_done();
        house.close();
    }
    for protocol in PROTOCOLS {
        let (upstream, house) = with_more(protocol, STARTTLS, limit);
        let mut silent = house.visit();
        asks_for_tls(&mut silent, protocol, true);
        let _next = house.visit();
        silent.is_hung_up_on();
        upstream.is_done();
        house.close();
    }
}
