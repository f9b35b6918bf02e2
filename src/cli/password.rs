//! `mailwicket password`: the named local passwords of an account.

mod import;
mod learn;
mod list;

use std::io::{self, Read, Write};

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use self::import::Import;
use self::learn::Learn;
use super::{Exit, Global};
use crate::config::{Account, Config, NoSuchAccount};
use crate::password::values::{PASSWORD_MAX, expiry, network, now, typed};
use crate::password::{self, HashError, NamedError, NamedPassword};
use crate::protocol::Protocol;
use crate::vault::{Vault, VaultError};

/// Local passwords: what mail programs log in with.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// Add a password; without --stdin it is made up and printed once.
    Add {
        /// The mailbox, as in the configuration.
        account: String,
        /// What to call the password, to remove it by.
        #[arg(long, default_value = "default")]
        name: String,
        /// Make up a password (the default).
        #[arg(long, conflicts_with = "stdin")]
        generate: bool,
        /// Read the password from the first line of standard input.
        #[arg(long)]
        stdin: bool,
        /// Accept it only from this network or address; may be repeated.
        #[arg(long, value_name = "CIDR", value_parser = network)]
        from: Vec<IpNet>,
        /// Accept it only for this protocol.
        #[arg(long, value_parser = protocol())]
        protocol: Option<Protocol>,
        /// Accept it through this day (of UTC), as 2027-01-31, or for this time from now, as 30d or 12h.
        #[arg(long, value_name = "WHEN", value_parser = expiry)]
        expires: Option<Timestamp>,
    },
    /// List the passwords by name, with their last use; none is shown.
    List {
        /// The mailbox, as in the configuration.
        account: String,
    },
    /// Remove a password.
    Remove {
        /// The mailbox, as in the configuration.
        account: String,
        /// The password's name.
        name: String,
    },
    /// Learn the password that a device already has, from its next login.
    Learn(Learn),
    /// Import password hashes of an htpasswd file or of Dovecot's passwd-file.
    Import(Import),
    /// Print an Argon2id hash for the configuration; without --stdin the password is made up and told on standard error.
    Hash {
        /// Read the password from the first line of standard input.
        #[arg(long)]
        stdin: bool,
    },
}

/// Where a command reads and writes.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// What scripts take: standard output.
    pub out: &'a mut dyn Write,
    /// What people read: standard error.
    pub words: &'a mut dyn Write,
}

/// Why a command about passwords failed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The configuration has no such account.
    #[error(transparent)]
    Account(#[from] NoSuchAccount),
    /// What came on standard input cannot be a password.
    #[error("no password on standard input: {0}")]
    Input(&'static str),
    /// The passwords could not be read or changed.
    #[error(transparent)]
    Named(#[from] NamedError),
    /// The vault could not be opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// No hash or password was made.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Some lines of a file were not imported; each was told.
    #[error("{0} of the lines were not imported")]
    Left(usize),
    /// Reading or writing failed.
    #[error("cannot read or write: {0}")]
    Stream(#[from] io::Error),
}

/// Runs it with the streams of the process.
pub fn command(args: Args, global: &Global) -> Exit {
    let streams = &mut Streams {
        input: &mut io::stdin().lock(),
        out: &mut io::stdout().lock(),
        words: &mut io::stderr().lock(),
    };
    let done = match args {
        Args::Hash { stdin } => hash(stdin, streams),
        args => match global.load() {
            Ok(config) => run(args, &config, streams),
            Err(exit) => return exit,
        },
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            // Said on the stream that is locked already; if nobody listens there, there is nobody to tell.
            let _ = writeln!(streams.words, "error: {error}");
            match error {
                PasswordError::Account(_) => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}

/// Does what `args` say with the accounts of `config`. Blocks.
///
/// # Errors
/// [`PasswordError`].
pub fn run(args: Args, config: &Config, streams: &mut Streams<'_>) -> Result<(), PasswordError> {
    let vault = || Vault::open(&config.state_dir, &config.vault_key);
    match args {
        Args::Hash { stdin } => hash(stdin, streams),
        Args::List { account } => list::list(&vault()?, &*config.account(&account)?, streams),
        Args::Learn(args) => {
            let account = config.account(&args.account)?;
            learn::learn(&vault()?, &account, args, streams)
        }
        Args::Import(args) => import::import(&vault()?, config, &args, streams),
        Args::Remove { account, name } => {
            remove(&vault()?, &*config.account(&account)?, &name, streams)
        }
        Args::Add {
            account,
            name,
            generate: _,
            stdin,
            from,
            protocol,
            expires,
        } => {
            let account = config.account(&account)?;
            let restrictions = Restrictions {
                from,
                protocol,
                expires,
            };
            add(&vault()?, &account, name, stdin, restrictions, streams)
        }
    }
}

/// `password hash`, which needs no configuration. Blocks.
///
/// # Errors
/// If the input is no password, or a stream fails.
pub fn hash(stdin: bool, streams: &mut Streams<'_>) -> Result<(), PasswordError> {
    let password = obtain(stdin, streams)?;
    let hash = password::hash(password.octets())?;
    if let Password::Generated(password) = &password {
        let password = password.expose_secret();
        writeln!(streams.words, "The password (shown only now): {password}")?;
    }
    writeln!(streams.out, "{hash}")?;
    Ok(())
}

/// Where and how long a password is good.
struct Restrictions {
    from: Vec<IpNet>,
    protocol: Option<Protocol>,
    expires: Option<Timestamp>,
}

/// A password and where it comes from: what a person typed is never shown again.
enum Password {
    Generated(secrecy::SecretString),
    Typed(SecretSlice<u8>),
}

impl Password {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Generated(password) => password.expose_secret().as_bytes(),
            Self::Typed(password) => password.expose_secret(),
        }
    }
}

fn add(
    vault: &Vault,
    account: &Account,
    name: String,
    stdin: bool,
    restrictions: Restrictions,
    streams: &mut Streams<'_>,
) -> Result<(), PasswordError> {
    let password = obtain(stdin, streams)?;
    let address = &account.address;
    let words = format!(
        "Added the password {name:?} of {address}, in {}.",
        vault.folder().display()
    );
    let named = NamedPassword {
        name,
        hash: password::hash(password.octets())?,
        created: now(),
        from: restrictions.from,
        protocol: restrictions.protocol,
        expires: restrictions.expires,
    };
    password::add(vault, account, named)?;
    writeln!(streams.words, "{words}")?;
    if let Password::Generated(password) = &password {
        writeln!(streams.words, "It is shown only now:")?;
        writeln!(streams.out, "{}", password.expose_secret())?;
    }
    Ok(())
}

fn remove(
    vault: &Vault,
    account: &Account,
    name: &str,
    streams: &mut Streams<'_>,
) -> Result<(), PasswordError> {
    let address = &account.address;
    password::remove(vault, address, name)?;
    writeln!(
        streams.words,
        "Removed the password {name:?} of {address}; sessions that are open stay open."
    )?;
    Ok(())
}

fn obtain(stdin: bool, streams: &mut Streams<'_>) -> Result<Password, PasswordError> {
    match stdin {
        true => read(streams.input).map(Password::Typed),
        false => Ok(Password::Generated(password::generate()?)),
    }
}

/// The first line, without its end.
fn read(input: &mut dyn Read) -> Result<SecretSlice<u8>, PasswordError> {
    // Room from the start, so that growing leaves no copies behind; and for CR LF.
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_MAX + 2));
    input
        .take(PASSWORD_MAX as u64 + 2)
        .read_to_end(&mut bytes)?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    typed(line).map_err(PasswordError::Input)
}

pub(super) fn protocol() -> impl TypedValueParser<Value = Protocol> {
    let words = Protocol::ALL.map(Protocol::word);
    PossibleValuesParser::new(words).try_map(|word| {
        let mut all = Protocol::ALL.into_iter();
        all.find(|protocol| protocol.word() == word)
            .ok_or("no protocol")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Surroundings;
    use crate::password::tests::Bench;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let words = ["password"].into_iter().chain(line.split(' '));
        Cli::try_parse_from(words).map(|cli| cli.args)
    }

    /// What a command printed: output and words.
    pub(super) type Printed = (String, String);

    /// Two mailboxes, one of which has another login name too.
    pub(super) fn configured() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailwicket.toml");
        let text = "[provider.contoso]\npreset = 'google'\nclient-id = 'id.apps.googleusercontent.com'\nclient-secret = 's3cret'\n\
                    [[account]]\naddress = 'alice@contoso.com'\nprovider = 'contoso'\n\
                    logins = ['alice@contoso.com', 'scanner-2']\n\
                    [[account]]\naddress = 'bob@contoso.com'\nprovider = 'contoso'\n";
        std::fs::write(&path, text).unwrap();
        let around = Surroundings::of_process().with_state_dir(Some(&folder.path().join("state")));
        let config = Config::load_in(&path, &around).unwrap();
        (folder, config)
    }

    pub(super) fn with_streams(
        mut input: &[u8],
        command: impl FnOnce(&mut Streams<'_>) -> Result<(), PasswordError>,
    ) -> Result<Printed, PasswordError> {
        let (mut out, mut words) = (Vec::new(), Vec::new());
        command(&mut Streams {
            input: &mut input,
            out: &mut out,
            words: &mut words,
        })?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(out), text(words)))
    }

    fn add_to(bench: &Bench, name: &str, input: Option<&[u8]>) -> Result<Printed, PasswordError> {
        let restrictions = Restrictions {
            from: vec![network("192.0.2.9/24").unwrap()],
            protocol: Some(Protocol::Smtp),
            expires: None,
        };
        with_streams(input.unwrap_or_default(), |streams| {
            let stdin = input.is_some();
            let (vault, alice) = (&bench.vault, &bench.alice);
            add(vault, alice, name.into(), stdin, restrictions, streams)
        })
    }

    #[test]
    fn a_generated_password_is_the_only_output() {
        let bench = Bench::new(&[]);
        let (out, words) = add_to(&bench, "scanner", None).unwrap();
        let password = out.strip_suffix('\n').unwrap();
        assert_eq!(password.len(), 16);
        assert!(!words.contains(password));
        let named = &password::list(&bench.vault, &bench.alice.address).unwrap()[0];
        assert!(crate::password::tests::matches(
            &named.hash,
            password.as_bytes()
        ));
    }

    #[test]
    fn a_typed_password_is_not_printed() {
        let bench = Bench::new(&[]);
        let (out, words) = add_to(&bench, "scanner", Some(b"hunter\xe9\r\nrest")).unwrap();
        assert_eq!(out, "");
        assert!(!words.contains("hunter"));
        let named = &password::list(&bench.vault, &bench.alice.address).unwrap()[0];
        assert!(crate::password::tests::matches(&named.hash, b"hunter\xe9"));
    }

    #[test]
    fn what_is_removed_must_be_there() {
        let bench = Bench::new(&[]);
        add_to(&bench, "scanner", Some(b"right")).unwrap();
        let remove = |name| {
            with_streams(b"", |streams| {
                remove(&bench.vault, &bench.alice, name, streams)
            })
        };
        let words = remove("printer").unwrap_err().to_string();
        assert!(words.contains("no password named \"printer\""), "{words}");
        remove("scanner").unwrap();
        assert!(
            password::list(&bench.vault, &bench.alice.address)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_hash_is_the_only_output_and_verifies() {
        let (out, words) = with_streams(b"right\n", |streams| hash(true, streams)).unwrap();
        assert!(crate::password::tests::matches(out.trim(), b"right"));
        assert_eq!(words, "");
        let (out, words) = with_streams(b"", |streams| hash(false, streams)).unwrap();
        let password = words.trim().rsplit(' ').next().unwrap();
        assert!(crate::password::tests::matches(
            out.trim(),
            password.as_bytes()
        ));
    }

    #[test]
    fn what_no_dialogue_can_carry_is_no_password() {
        let long = [b'x'; PASSWORD_MAX + 1];
        for input in [&b""[..], b"\nrest", b"a\0b\n", b"a\rb\n", &long] {
            assert!(read(&mut &input[..]).is_err(), "{input:?}");
        }
        let most = [&long[1..], b"\r\n"].concat();
        assert_eq!(
            read(&mut &most[..]).unwrap().expose_secret().len(),
            PASSWORD_MAX
        );
    }

    #[test]
    fn the_command_line_is_as_documented() {
        let line = "add alice@contoso.com --name scanner --generate --from 192.0.2.0/24 \
                    --from ::1 --protocol smtp --expires 30d";
        let Args::Add { from, protocol, .. } = parse(line).unwrap() else {
            panic!("not an addition");
        };
        assert_eq!(from.len(), 2);
        assert_eq!(protocol, Some(Protocol::Smtp));
        for good in [
            "list a@x",
            "remove a@x scanner",
            "hash",
            "hash --stdin",
            "learn a@x --from 192.0.2.7 --name scanner --protocol smtp --for 1h",
            "learn a@x --cancel",
            "learn --cancel a@x",
            "import users.htpasswd --account a@x --name old",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let odd = [
            "add a@x --generate --stdin",
            "add a@x --protocol ftp",
            "add a@x --from nowhere",
            "add a@x --expires yesterday",
            "learn a@x",
            "learn a@x --cancel --from 192.0.2.7",
            "learn a@x --from 192.0.2.7 --for 2d",
        ];
        for odd in odd {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
