//! `mailwicket password learn`: lets a device keep the password it has.

use clap::Args;
use ipnet::IpNet;
use jiff::SignedDuration;

use super::{PasswordError, Streams, protocol};
use crate::config::Account;
use crate::password::values::{good_for, network, now, window};
use crate::password::{self, Window};
use crate::protocol::Protocol;
use crate::vault::Vault;

/// What is to be learned, or no more.
#[derive(Debug, Args)]
pub struct Learn {
    /// The mailbox, as in the configuration.
    pub(super) account: String,
    /// What to call the password that is learned.
    #[arg(long, default_value = "learned")]
    name: String,
    /// The device's address, or a small network; may be repeated. The password will be good only from there.
    #[arg(long, value_name = "CIDR", value_parser = network, required_unless_present = "cancel")]
    from: Vec<IpNet>,
    /// Learn it only over this protocol, and accept it only for this protocol later.
    #[arg(long, value_parser = protocol())]
    protocol: Option<Protocol>,
    /// How long to wait for the device.
    #[arg(long = "for", value_name = "TIME", value_parser = window, default_value = "10m")]
    length: SignedDuration,
    /// Learn nothing any more.
    #[arg(long, conflicts_with_all = ["name", "from", "protocol", "length"])]
    cancel: bool,
}

pub(super) fn learn(
    vault: &Vault,
    account: &Account,
    args: Learn,
    streams: &mut Streams<'_>,
) -> Result<(), PasswordError> {
    if args.cancel {
        return cancel(vault, account, streams);
    }
    let opened = now();
    let window = Window {
        name: args.name,
        from: args.from,
        protocol: args.protocol,
        opened,
        // A day at most, so it is in range.
        until: opened.saturating_add(args.length).unwrap_or(opened),
    };
    let (address, logins) = (&account.address, account.logins.join(" or "));
    let (until, name) = (window.until, window.name.clone());
    let uses = good_for(window.protocol, &window.from);
    let former = password::open_learning(vault, account, window)?;
    if let Some(former) = former {
        let name = former.name;
        writeln!(
            streams.words,
            "The window for {name:?}, which was open, is closed."
        )?;
    }
    writeln!(
        streams.words,
        "Until {until} the first login as {logins}, {uses}, with a password that {address} does not have yet is \
         accepted, and its password kept as {name:?}.\nLet the device log in now. \
         `mailwicket password list {address}` shows what was learned; `mailwicket password learn --cancel {address}` ends it."
    )?;
    Ok(())
}

fn cancel(
    vault: &Vault,
    account: &Account,
    streams: &mut Streams<'_>,
) -> Result<(), PasswordError> {
    let address = &account.address;
    match password::cancel_learning(vault, address)? {
        Some(window) => writeln!(
            streams.words,
            "Nothing is learned for {address} any more; {:?} was not.",
            window.name
        )?,
        None => writeln!(streams.words, "No window was open for {address}.")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::PasswordError;
    use super::super::list::list;
    use super::super::tests::{Printed, with_streams};
    use super::*;
    use crate::password::tests::Bench;

    fn open(bench: &Bench, from: &str) -> Result<Printed, PasswordError> {
        let args = Learn {
            account: bench.alice.address.clone(),
            name: "scanner".into(),
            from: vec![network(from).unwrap()],
            protocol: Some(Protocol::Smtp),
            length: SignedDuration::from_mins(10),
            cancel: false,
        };
        with_streams(b"", |streams| {
            learn(&bench.vault, &bench.alice, args, streams)
        })
    }

    fn listed(bench: &Bench) -> String {
        let list = with_streams(b"", |streams| list(&bench.vault, &bench.alice, streams));
        list.unwrap().0
    }

    #[test]
    fn an_open_window_is_listed_until_it_is_cancelled() {
        let bench = Bench::new(&[]);
        let (out, words) = open(&bench, "192.168.1.20").unwrap();
        assert_eq!(out, "");
        assert!(
            words.contains("alice@contoso.com or scanner-2, smtp from 192.168.1.20,"),
            "{words}"
        );
        let line = listed(&bench);
        assert!(line.starts_with("(learning)  until 20"), "{line}");
        assert!(
            line.ends_with("Z  smtp from 192.168.1.20  to be named \"scanner\"\n"),
            "{line}"
        );
        let cancelled = || with_streams(b"", |streams| cancel(&bench.vault, &bench.alice, streams));
        assert!(cancelled().unwrap().1.contains("\"scanner\" was not"));
        assert_eq!(listed(&bench), "");
        assert!(cancelled().unwrap().1.contains("No window was open"));
    }

    #[test]
    fn a_wide_window_is_refused_with_the_reason() {
        let bench = Bench::new(&[]);
        for wide in [
            "0.0.0.0/0",
            "192.168.0.0/23",
            "::/0",
            "2001:db8::/63",
            "126.0.0.0/7",
        ] {
            let words = open(&bench, wide).unwrap_err().to_string();
            assert!(
                words.contains("is too wide to learn from"),
                "{wide}: {words}"
            );
        }
        assert_eq!(listed(&bench), "");
        for narrow in ["192.168.1.0/24", "127.0.0.0/8", "::1", "2001:db8::/64"] {
            assert!(open(&bench, narrow).is_ok(), "{narrow}");
        }
    }
}
