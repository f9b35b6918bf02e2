//! The check of the local password: the only place that makes [`Verified`].

use std::sync::Arc;

use crate::config::Account;

/// Proof that somebody presented a right password for an account; the only key to a token.
#[derive(Clone, Debug)]
pub struct Verified {
    account: Arc<Account>,
}

impl Verified {
    /// The account that was opened.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }
}
