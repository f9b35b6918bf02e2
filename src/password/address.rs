//! The other way to a [`Verified`]: an address from which a listener's account may be used without a password.

use std::net::IpAddr;
use std::sync::Arc;

use super::Verified;
use crate::config::WithoutLogin;
use crate::failure::{Cause, Failure};
use crate::stage::Stage;

/// Vouches for whoever connects from `source`, if the listener's terms cover that address.
///
/// # Errors
/// [`Cause::Password`] if they do not.
pub fn vouch(terms: Option<&WithoutLogin>, source: IpAddr) -> Result<Verified, Failure> {
    match terms.filter(|terms| terms.covers(source)) {
        Some(terms) => Ok(Verified {
            account: Arc::clone(&terms.account),
            senders: terms.senders.clone(),
        }),
        None => Err(Failure::new(
            Stage::Password,
            Cause::Password,
            "this address may not send without logging in",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::tests::account;

    #[test]
    fn only_listed_addresses_are_vouched_for() {
        let terms = WithoutLogin {
            account: account("scanner@example.com", &[], &[]),
            from: vec![
                "192.0.2.0/28".parse().unwrap(),
                "2001:db8::7/128".parse().unwrap(),
            ],
            senders: None,
        };
        for listed in ["192.0.2.1", "::ffff:192.0.2.15", "2001:db8::7"] {
            let verified = vouch(Some(&terms), listed.parse().unwrap()).unwrap();
            assert_eq!(verified.account().address, "scanner@example.com");
        }
        for other in ["192.0.2.16", "127.0.0.1", "2001:db8::8", "::c000:201"] {
            let failure = vouch(Some(&terms), other.parse().unwrap()).unwrap_err();
            assert_eq!(failure.cause, Cause::Password, "{other}");
        }
        assert!(vouch(None, "192.0.2.1".parse().unwrap()).is_err());
    }
}
