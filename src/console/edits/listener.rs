//! `/listeners`: where mail programs log in.

use super::field::{Entry, Kind, Section};

/// The keys of a listener that have a field.
pub const SECTIONS: &[Section] = &[
    Section {
        legend: "Address",
        entries: &[
            Entry {
                key: &["protocol"],
                label: "Protocol",
                kind: Kind::Choice(&["imap", "pop3", "smtp"]),
                hint: "is what mail programs speak there.",
            },
            Entry {
                key: &["provider"],
                label: "Provider",
                kind: Kind::Provider,
                hint: "has the mail server behind it.",
            },
            Entry {
                key: &["listen"],
                label: "Addresses",
                kind: Kind::Lines,
                hint: "with ports, one to a line: 127.0.0.1:1143 and [::1]:1143.",
            },
        ],
    },
    Section {
        legend: "Encryption",
        entries: &[
            Entry {
                key: &["tls"],
                label: "TLS",
                kind: Kind::Choice(&["none", "starttls", "implicit", "auto"]),
                hint: "says when TLS begins; none if it is not there.",
            },
            Entry {
                key: &["certificate", "file"],
                label: "Certificate",
                kind: Kind::Text,
                hint: "is a PEM file; without one, the local CA makes a certificate.",
            },
            Entry {
                key: &["certificate", "key", "file"],
                label: "Key of the certificate",
                kind: Kind::Text,
                hint: "is a PEM file; without one, the key is in the certificate's file.",
            },
            Entry {
                key: &["allow-plaintext-from"],
                label: "Passwords in clear from",
                kind: Kind::Lines,
                hint: "takes addresses and networks, one to a line, for devices without TLS.",
            },
        ],
    },
    Section {
        legend: "Whoever connects",
        entries: &[
            Entry {
                key: &["proxy-protocol-from"],
                label: "Proxies that send a PROXY header",
                kind: Kind::Lines,
                hint: "takes addresses and networks, one to a line.",
            },
            Entry {
                key: &["on-unavailable"],
                label: "When a login cannot be completed",
                kind: Kind::Choice(&["reply", "close"]),
                hint: "closes the connection instead of a reply, for programs that take every refusal for a wrong password.",
            },
            Entry {
                key: &["without-login", "account"],
                label: "Devices without a login send as",
                kind: Kind::Text,
                hint: "is the account of devices that cannot log in; SMTP only.",
            },
            Entry {
                key: &["without-login", "from"],
                label: "Addresses of those devices",
                kind: Kind::Lines,
                hint: "takes addresses and networks, one to a line.",
            },
            Entry {
                key: &["without-login", "senders"],
                label: "Senders that those devices may use",
                kind: Kind::Lines,
                hint: "takes mail addresses, one to a line; without any, all that the mail server takes.",
            },
        ],
    },
];
