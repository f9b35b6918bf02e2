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
