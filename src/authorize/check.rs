//! Whether what was granted is what the account needs: a wrong person's consent is the commonest mistake, and an attack as well.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::Account;
use crate::oauth::response::{Answer, printable};

/// Scopes that are about the sign-in itself; providers often do not repeat them.
const ABOUT_SIGN_IN: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// Why a grant is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Somebody else signed in.
    #[error(
        "{found} signed in, but the account needs {wanted}. Sign in as {wanted} (try a private window); \
         if {found} is meant, set authorize-as = \"{found}\""
    )]
    WrongPerson {
        /// Who signed in.
        found: String,
        /// Who should have.
        wanted: String,
    },
    /// The identity is not for us.
    #[error("the provider's answer says who signed in, but to another client id")]
    WrongAudience,
    /// Access would end within the hour.
    #[error(
        "the provider gave no refresh token, so access would end soon. Ask for it: scope offline_access, or at Google \
         authorize-params access_type = \"offline\" and prompt = \"consent\""
    )]
    NoRefreshToken,
    /// No mail.
    #[error(
        "the provider granted {granted:?} and left out {missing:?}. Tick every box on the consent page, and check the registration's permissions"
    )]
    NoScope {
        /// What was granted.
        granted: String,
        /// What was not.
        missing: String,
    },
}

/// What the check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Who signed in, where the provider says so.
    pub signed_in_as: Option<String>,
    /// What may be a mistake.
    pub warnings: Vec<String>,
}

/// Checks an answer for `account`.
pub fn check(answer: &Answer, account: &Account) -> Result<Checked, Unfit> {
    let mut checked = Checked::default();
    if let Some(claims) = answer.id_token.as_ref().and_then(Claims::read) {
        checked.signed_in_as = person(&claims, account)?;
    }
    if checked.signed_in_as.is_none() {
        checked.warnings.push(unchecked(account));
    }
    if answer.refresh_token.is_none() {
        return Err(Unfit::NoRefreshToken);
    }
    checked.warnings.extend(scopes(answer, account)?);
    Ok(checked)
}

/// The warning where nobody can be checked.
fn unchecked(account: &Account) -> String {
    let asked = &account.provider.scopes;
    let hint = match asked.iter().any(|scope| scope == "openid") {
        true => "",
        false => "; with the scopes openid and email many providers do",
    };
    format!(
        "nobody could check who signed in, because the provider does not say{hint}. If another user of this machine meddled with \
         the sign-in, the tokens may be for a mailbox of theirs. See whether the mail servers take them: mailwicket doctor {}",
        account.address
    )
}

/// What of the scopes is missing: an error if it is all of those for mail, else a warning.
fn scopes(answer: &Answer, account: &Account) -> Result<Option<String>, Unfit> {
    let Some(granted) = &answer.scopes else {
        return Ok(None);
    };
    // ".default" stands for whatever was registered, and is never repeated.
    let for_mail =
        |scope: &&String| !ABOUT_SIGN_IN.contains(&scope.as_str()) && !scope.ends_with("/.default");
    let asked: Vec<_> = account.provider.scopes.iter().filter(for_mail).collect();
    // Zoho puts commas where others have spaces.
    let words = |scope: &str| scope.split(',').map(str::to_owned).collect::<Vec<_>>();
    let granted_words: Vec<_> = granted.iter().flat_map(|scope| words(scope)).collect();
    let is_granted = |asked: &str| {
        words(asked).iter().all(|asked| {
            granted_words
                .iter()
                .any(|scope| scope.eq_ignore_ascii_case(asked))
        })
    };
    let missing: Vec<_> = asked
        .iter()
        .filter(|scope| !is_granted(scope))
        .map(|scope| scope.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let (granted, left_out) = (printable(&granted.join(" "), 400), missing.join(" "));
    if missing.len() == asked.len() {
        return Err(Unfit::NoScope {
            granted,
            missing: left_out,
        });
    }
    Ok(Some(format!(
        "the provider left out {left_out:?}; what needs it will be refused"
    )))
}

/// Who signed in, if that is who should: the mailbox itself or the one in `authorize-as`.
fn person(claims: &Claims, account: &Account) -> Result<Option<String>, Unfit> {
    if claims
        .aud
        .as_ref()
        .is_some_and(|audience| !audience.has(&account.provider.client_id))
    {
        return Err(Unfit::WrongAudience);
    }
    let names = claims.names();
    let wanted: Vec<&str> = [account.authorize_as.as_deref(), Some(&account.address)]
        .into_iter()
        .flatten()
        .collect();
    let matching = names.iter().find(|name| {
        wanted
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(name))
    });
    match (matching, names.first()) {
        (Some(name), _) => Ok(Some((*name).to_owned())),
        (None, None) => Ok(None),
        (None, Some(found)) => Err(Unfit::WrongPerson {
            found: printable(found, 200),
            wanted: wanted[0].to_owned(),
        }),
    }
}

/// The claims of an id token that say who signed in.
///
/// The signature is not checked: the token came from the token endpoint over TLS (OpenID Connect Core 1.0 §3.1.3.7, point 6).
#[derive(Debug, Deserialize)]
struct Claims {
    aud: Option<Audience>,
    email: Option<String>,
    preferred_username: Option<String>,
    upn: Option<String>,
    sub: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, client_id: &str) -> bool {
        match self {
            Self::One(audience) => audience == client_id,
            Self::Many(audiences) => audiences.iter().any(|audience| audience == client_id),
        }
    }
}

impl Claims {
    fn read(token: &SecretString) -> Option<Self> {
        let payload = token.expose_secret().split('.').nth(1)?;
        let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// The names that were signed in with. A subject is one only if it has the form of an address.
    fn names(&self) -> Vec<&str> {
        let subject = self.sub.as_deref().filter(|subject| subject.contains('@'));
        [
            self.email.as_deref(),
            self.preferred_username.as_deref(),
            self.upn.as_deref(),
            subject,
        ]
        .into_iter()
        .flatten()
        .filter(|name| !name.is_empty())
        .collect()
    }
}
