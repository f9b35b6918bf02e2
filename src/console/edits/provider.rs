//! `/providers`: the registrations at providers.

use super::field::{Entry, Kind, Section};

/// `host`, `port` and `tls` of a mail server.
macro_rules! server {
    ($protocol:literal, $title:literal) => {
        Section {
            legend: $title,
            entries: &[
                Entry {
                    key: &[$protocol, "host"],
                    label: concat!($title, ": host"),
                    kind: Kind::Text,
                    hint: "is the mail server, if it is not the preset's.",
                },
                Entry {
                    key: &[$protocol, "port"],
                    label: concat!($title, ": port"),
                    kind: Kind::Number,
                    hint: "follows from TLS, if it is not there.",
                },
                Entry {
                    key: &[$protocol, "tls"],
                    label: concat!($title, ": TLS"),
                    kind: Kind::Choice(&["implicit", "starttls"]),
                    hint: "follows from the port, if it is not there.",
                },
            ],
        }
    };
}

/// A key that takes a URL.
macro_rules! url {
    ($key:literal, $label:literal) => {
        Entry {
            key: &[$key],
            label: $label,
            kind: Kind::Text,
            hint: "is the preset's, or what the issuer publishes, if it is not there.",
        }
    };
}

/// The keys of a provider that have a field.
pub const SECTIONS: &[Section] = &[
    Section {
        legend: "Registration",
        entries: &[
            Entry {
                key: &["preset"],
                label: "Preset",
                kind: Kind::Preset,
                hint: "fills in everything below that is known about that provider.",
            },
            Entry {
                key: &["region"],
                label: "Region",
                kind: Kind::Text,
                hint: "is the data centre: Zoho only.",
            },
            Entry {
                key: &["tenant"],
                label: "Tenant",
                kind: Kind::Text,
                hint: "is a directory id or domain: Microsoft only.",
            },
            Entry {
                key: &["client-id"],
                label: "Client id",
                kind: Kind::Text,
                hint: "is the application's id at the provider.",
            },
            Entry {
                key: &["flow"],
                label: "Flow",
                kind: Kind::Choice(&[
                    "authorization-code",
                    "device-code",
                    "client-credentials",
                    "service-account",
                    "managed-identity",
                    "password",
                ]),
                hint: "is how tokens are got; authorization-code if it is not there.",
            },
            Entry {
                key: &["allow-password-grant"],
                label: "Allow the password grant",
                kind: Kind::Flag,
                hint: "must be true for the flow password.",
            },
        ],
    },
    Section {
        legend: "What it proves itself with",
        entries: &[
            Entry {
                key: &["client-secret"],
                label: "New client secret",
                kind: Kind::Secret,
                hint: "goes to a file that only mailwicket's user can read. Empty: it stays as it is.",
            },
            Entry {
                key: &["client-secret-expires"],
                label: "The client secret ends on",
                kind: Kind::Date,
                hint: "is announced 30 days ahead.",
            },
            Entry {
                key: &["certificate", "file"],
                label: "Certificate",
                kind: Kind::Text,
                hint: "is a PEM file, in place of a secret.",
            },
            Entry {
                key: &["certificate", "key", "file"],
                label: "Key of the certificate",
                kind: Kind::Text,
                hint: "is a PEM file; without one, the key is in the certificate's file.",
            },
            Entry {
                key: &["certificate", "algorithm"],
                label: "Algorithm of the signature",
                kind: Kind::Choice(&["ps256", "rs256"]),
                hint: "is ps256 if it is not there.",
            },
            Entry {
                key: &["assertion", "file"],
                label: "Assertion",
                kind: Kind::Text,
                hint: "is a file with the token that a platform gives this program.",
            },
            Entry {
                key: &["service-account", "file"],
                label: "Service account",
                kind: Kind::Text,
                hint: "is the JSON key file, for the flow service-account.",
            },
        ],
    },
    Section {
        legend: "Addresses at the provider",
        entries: &[
            url!("issuer", "Issuer"),
            url!("authorize-url", "Authorization URL"),
            url!("token-url", "Token URL"),
            url!("device-url", "Device URL"),
            url!("revoke-url", "Revocation URL"),
            Entry {
                key: &["redirect-url"],
                label: "Redirect URL",
                kind: Kind::Text,
                hint: "is on loopback: where the browser comes back to.",
            },
            Entry {
                key: &["scopes"],
                label: "Scopes",
                kind: Kind::Lines,
                hint: "are the preset's if they are not there; one to a line.",
            },
        ],
    },
    server!("imap", "IMAP"),
    server!("pop3", "POP3"),
    server!("smtp", "SMTP"),
    Section {
        legend: "The way there",
        entries: &[
            Entry {
                key: &["mechanism"],
                label: "SASL mechanism",
                kind: Kind::Choice(&["auto", "xoauth2", "oauthbearer"]),
                hint: "is the preset's, else auto, if it is not there.",
            },
            Entry {
                key: &["ca-file"],
                label: "Further certificates to trust",
                kind: Kind::Text,
                hint: "is a PEM file.",
            },
            Entry {
                key: &["egress"],
                label: "Proxy",
                kind: Kind::Text,
                hint: "is http://proxy.example:3128 or socks5://…; none for no proxy.",
            },
        ],
    },
];
