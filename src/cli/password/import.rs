//! `mailwicket password import`: takes over the hashes of an htpasswd file or of Dovecot's passwd-file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{PasswordError, Streams};
use crate::config::{Account, Config};
use crate::password::values::now;
use crate::password::{self, NamedError, NamedPassword, Scheme, Unfit};
use crate::vault::Vault;

/// Octets of the largest file: tens of thousands of lines.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Dovecot's names for hashes that are taken.
const TAKEN: &str = "CRYPT BLF-CRYPT SHA512-CRYPT SHA256-CRYPT ARGON2ID";

/// What Dovecot allows less by, behind the hash (its extra fields).
const RESTRICTIONS: [&str; 2] = ["allow_nets", "nologin"];

/// Others that it has.
const NOT_TAKEN: &str = "PLAIN CLEAR CLEARTEXT PLAIN-TRUNC PLAIN-MD4 PLAIN-MD5 LDAP-MD5 MD5 MD5-CRYPT DES-CRYPT CRAM-MD5 DIGEST-MD5 \
                         HMAC-MD5 SMD5 SHA SHA1 SHA256 SHA512 SSHA SSHA256 SSHA512 ARGON2I PBKDF2 OTP SCRAM-SHA-1 SCRAM-SHA-256";

/// Which hashes go where.
#[derive(Debug, Args)]
pub struct Import {
    /// An htpasswd file (`login:hash`) or a passwd-file of Dovecot (`login:{SCHEME}hash:…`).
    file: PathBuf,
    /// Take only the lines of this mailbox.
    #[arg(long)]
    account: Option<String>,
    /// What to call the passwords; without it they get the login's name.
    #[arg(long)]
    name: Option<String>,
}

/// Why a line needs a human. None of these repeats what may be a password.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("this is no line of login:hash")]
    Form,
    #[error("no account of the configuration has this login; see `logins`")]
    Login,
    #[error(
        "{{{0}}} is not taken; make a new password, or let `mailwicket password learn` adopt the device's"
    )]
    Label(&'static str),
    #[error("the hash is not taken: {0}")]
    Hash(#[from] Unfit),
    #[error(
        "it has `{0}`, which would be lost; if the password may be used, add it with `mailwicket password add`, and --from where that is meant"
    )]
    Restricted(&'static str),
    #[error(transparent)]
    Kept(#[from] NamedError),
}

/// What became of a line.
enum Done {
    Imported { account: String, name: String },
    Known { account: String },
    Skipped,
}

pub(super) fn import(
    vault: &Vault,
    config: &Config,
    args: &Import,
    streams: &mut Streams<'_>,
) -> Result<(), PasswordError> {
    let only = args.account.as_deref().map(|name| config.account(name));
    let only = only.transpose()?;
    let text = read(&args.file)?;
    let (mut imported, mut left) = (0, 0);
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let entry = Entry::parse(line);
        let login = entry.as_ref().map_or("?", |entry| entry.login);
        let done = entry.as_ref().ok_or(Obstacle::Form);
        let done = done
            .and_then(|entry| take(vault, config, only.as_deref(), args.name.as_deref(), entry));
        match &done {
            Ok(Done::Skipped) => continue,
            Ok(Done::Known { .. }) => {}
            Ok(Done::Imported { .. }) => imported += 1,
            Err(_) => left += 1,
        }
        let login = login.escape_debug();
        writeln!(streams.out, "{number}: {login}: {}", words(&done))?;
    }
    writeln!(
        streams.words,
        "Passwords imported: {imported}. Lines that need a human: {left}."
    )?;
    match left {
        0 => Ok(()),
        left => Err(PasswordError::Left(left)),
    }
}

fn words(done: &Result<Done, Obstacle>) -> String {
    match done {
        Ok(Done::Imported { account, name }) => format!("imported as {name:?} of {account}"),
        Ok(Done::Known { account }) => format!("{account} has this password already"),
        Ok(Done::Skipped) => "of another account".to_owned(),
        Err(obstacle) => format!("needs a human: {obstacle}"),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PasswordError> {
    let named =
        |source: io::Error| io::Error::new(source.kind(), format!("{}: {source}", path.display()));
    let mut text = Vec::new();
    let file = File::open(path).map_err(named)?;
    file.take(FILE_MAX + 1)
        .read_to_end(&mut text)
        .map_err(named)?;
    if text.len() as u64 > FILE_MAX {
        return Err(named(io::Error::other("it is larger than 4 MiB")).into());
    }
    Ok(text)
}

/// A line of either form.
struct Entry<'a> {
    login: &'a str,
    /// `SCHEME`, where the line has `{SCHEME}`.
    label: Option<&'a str>,
    hash: &'a str,
    /// What limits its use, and cannot be taken over.
    restriction: Option<&'static str>,
}

impl<'a> Entry<'a> {
    /// What stands behind the hash (a user id, a home) concerns Dovecot only, but for restrictions.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(line).ok()?.split(':');
        let (login, secret) = (fields.next()?, fields.next()?);
        let restriction = fields.flat_map(str::split_whitespace).find_map(restriction);
        let labelled = secret.strip_prefix('{');
        let labelled = labelled.and_then(|rest| rest.split_once('}'));
        let (label, hash) = match labelled {
            Some((label, hash)) => (Some(label), hash),
            None => (None, secret),
        };
        (!login.is_empty()).then_some(Self {
            login,
            label,
            hash,
            restriction,
        })
    }

    /// The hash, if it is of a kind that is taken.
    fn hash(&self) -> Result<&'a str, Obstacle> {
        let word_of = |words: &'static str, label: &str| {
            let mut words = words.split(' ');
            words.find(|word| label.eq_ignore_ascii_case(word))
        };
        match self.label {
            Some(label) if word_of(TAKEN, label).is_none() => {
                // Only what is no secret is repeated: braces may belong to a password.
                Err(Obstacle::Label(word_of(NOT_TAKEN, label).unwrap_or("…")))
            }
            _ => {
                Scheme::of(self.hash)?;
                Ok(self.hash)
            }
        }
    }
}

/// The restriction that an extra field `name` or `name=value` is.
fn restriction(field: &str) -> Option<&'static str> {
    let name = field.split_once('=').map_or(field, |(name, _)| name);
    RESTRICTIONS
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known))
}

fn take(
    vault: &Vault,
    config: &Config,
    only: Option<&Account>,
    name: Option<&str>,
    entry: &Entry<'_>,
) -> Result<Done, Obstacle> {
    let account = config.roster.by_login(entry.login);
    let account = match (account, only) {
        (Some(account), Some(only)) if account.address != only.address => return Ok(Done::Skipped),
        (None, Some(_)) => return Ok(Done::Skipped),
        (account, _) => account.ok_or(Obstacle::Login)?,
    };
    let hash = entry.hash()?;
    if let Some(restriction) = entry.restriction {
        return Err(Obstacle::Restricted(restriction));
    }
    let address = &account.address;
    let kept = password::list(vault, address)?;
    let mut known = kept
        .iter()
        .map(|named| &named.hash)
        .chain(&account.password_hashes);
    if known.any(|known| known == hash) {
        let account = address.clone();
        return Ok(Done::Known { account });
    }
    let name = name.unwrap_or(entry.login).to_owned();
    let named = NamedPassword {
        name: name.clone(),
        hash: hash.to_owned(),
        created: now(),
        from: Vec::new(),
        protocol: None,
        expires: None,
    };
    password::add(vault, &account, named)?;
    let account = address.clone();
    Ok(Done::Imported { account, name })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Printed, configured, with_streams};
    use super::*;
    use crate::config::Surroundings;
    use std::fs;

    const BCRYPT: &str = "$2y$05$Tms7POGqKriq90uGtJxGl.32pSHJCVEJtKydN6KN.IS686UQBI9JG";
    const SHA512: &str = "$6$saltstring$w2mbEFgAFKLA5.2Xh2rlACVYN3x/WkM5p0ancwSGBJmVeJRHQ0n5w.iIEk2LJbN7TXLZELR88InvKcY7sPgmT.";
    const ALICE: &str = "alice@contoso.com";
    const BOB: &str = "bob@contoso.com";

    fn run(config: &Config, text: &[u8], options: [Option<&str>; 2]) -> (Printed, usize) {
        let vault = Vault::open(&config.state_dir, &config.vault_key).unwrap();
        let file = config.state_dir.join("passwords.txt");
        fs::write(&file, text).unwrap();
        let [account, name] = options.map(|option| option.map(str::to_owned));
        let args = Import {
            file,
            account,
            name,
        };
        let mut left = 0;
        let printed = with_streams(b"", |streams| {
            match import(&vault, config, &args, streams) {
                Err(PasswordError::Left(lines)) => left = lines,
                done => done?,
            }
            Ok(())
        });
        (printed.unwrap(), left)
    }

    fn names(config: &Config, account: &str) -> Vec<String> {
        let vault = Vault::open(&config.state_dir, &config.vault_key).unwrap();
        let kept = password::list(&vault, account).unwrap();
        kept.into_iter().map(|named| named.name).collect()
    }

    #[test]
    fn every_line_goes_to_the_account_of_its_login_or_is_left_to_a_human() {
        let (_folder, config) = configured();
        let text = format!(
            "# from the old server\r\n\
             Scanner-2:{BCRYPT}\r\n\
             \n\
             {BOB}:{{sha512-crypt}}{SHA512}:1000:1000::/home/bob::userdb_mail=x\n\
             {ALICE}:{{CRYPT}}{BCRYPT}\n\
             nobody:{BCRYPT}\n\
             scanner-2:$apr1$saltstri$Nsh4aeu5w3fGisXo.AzSA.\n\
             scanner-2:{{PLAIN}}hunter2\n\
             scanner-2:{{hunter2}}\n\
             scanner-2:hunter2\n\
             hunter2\n\
             scanner-2:{{CRYPT}}{SHA512}:::::: userdb_mail=x allow_nets=10.0.0.0/8,fd00::/8\n\
             scanner-2:{{CRYPT}}{SHA512}:1000::::::nologin=y\n\
             scanner-2:{SHA512}\n"
        );
        let ((out, words), left) = run(&config, text.as_bytes(), [None, None]);
        let lines: Vec<_> = out.lines().collect();
        for (line, wanted) in lines.iter().zip([
            "2: Scanner-2: imported as \"Scanner-2\" of alice@contoso.com",
            "4: bob@contoso.com: imported as \"bob@contoso.com\" of bob@contoso.com",
            "5: alice@contoso.com: alice@contoso.com has this password already",
            "6: nobody: needs a human: no account",
            "7: scanner-2: needs a human: the hash is not taken: an MD5 hash of htpasswd",
            "8: scanner-2: needs a human: {PLAIN} is not taken",
            "9: scanner-2: needs a human: {…} is not taken",
            "10: scanner-2: needs a human: the hash is not taken: it begins with none of",
            "11: ?: needs a human: this is no line of login:hash",
            "12: scanner-2: needs a human: it has `allow_nets`",
            "13: scanner-2: needs a human: it has `nologin`",
            "14: scanner-2: imported as \"scanner-2\"",
        ]) {
            assert!(line.starts_with(wanted), "{line}\n{wanted}");
        }
        assert_eq!((lines.len(), left), (12, 8));
        assert!(words.starts_with("Passwords imported: 3."), "{words}");
        assert!(!out.contains("hunter2") && !words.contains("hunter2"));
        assert_eq!(names(&config, ALICE), ["Scanner-2", "scanner-2"]);
        assert_eq!(names(&config, BOB), [BOB]);
    }

    #[test]
    fn a_mailbox_of_a_whole_domain_is_there_from_its_first_hash_on() {
        let (folder, _) = configured();
        let path = folder.path().join("mailwicket.toml");
        let text = "[provider.app]\npreset = 'microsoft'\ntenant = 'contoso.com'\nflow = 'client-credentials'\n\
                    client-id = '11111111-2222-3333-4444-555555555555'\nclient-secret = 's3cret'\n\
                    [[account]]\naddress = '*@contoso.com'\nprovider = 'app'\n";
        let around = Surroundings::of_process().with_state_dir(Some(&folder.path().join("state")));
        let config = Config::parse_in(text, &path, &around).unwrap();
        let vault = Vault::open(&config.state_dir, &config.vault_key).unwrap();
        assert!(password::mailboxes(&config.roster, &vault).is_empty());
        let lines = format!("Bob@contoso.com:{BCRYPT}\nbob@fabrikam.com:{BCRYPT}\n");
        let ((out, _), left) = run(&config, lines.as_bytes(), [None, None]);
        assert_eq!(left, 1, "{out}");
        let mailboxes = password::mailboxes(&config.roster, &vault);
        assert_eq!(mailboxes.len(), 1);
        assert_eq!(mailboxes[0].address, BOB);
    }

    #[test]
    fn a_second_import_changes_nothing() {
        let (_folder, config) = configured();
        let text = format!("scanner-2:{BCRYPT}\n");
        run(&config, text.as_bytes(), [None, None]);
        let ((out, _), left) = run(&config, text.as_bytes(), [None, None]);
        assert_eq!(left, 0);
        assert!(out.contains("has this password already"), "{out}");
        let changed = format!("scanner-2:{SHA512}\n");
        let ((out, _), left) = run(&config, changed.as_bytes(), [None, None]);
        assert_eq!(left, 1);
        assert!(
            out.contains("has a password named \"scanner-2\" already"),
            "{out}"
        );
        assert_eq!(names(&config, ALICE), ["scanner-2"]);
    }

    #[test]
    fn one_account_and_one_name_can_be_asked_for() {
        let (_folder, config) = configured();
        let text = format!("{BOB}:{SHA512}\nnobody:{SHA512}\nscanner-2:{BCRYPT}\n");
        let ((out, _), left) = run(&config, text.as_bytes(), [Some(ALICE), Some("old server")]);
        assert_eq!(
            out,
            "3: scanner-2: imported as \"old server\" of alice@contoso.com\n"
        );
        assert_eq!(left, 0);
        assert!(names(&config, BOB).is_empty());
    }
}
