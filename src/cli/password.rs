//! `mailwicket password`: the named local passwords of an account.

use std::io::{self, Read, Write};
use std::net::IpAddr;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use super::{Exit, Global};
use crate::config::{Account, Config, NoSuchAccount};
use crate::password::{self, HashError, NamedError, NamedPassword};
use crate::protocol::Protocol;
use crate::vault::{Vault, VaultError};

/// Octets of the longest password: it must fit into a line of every dialogue, also as base64.
const PASSWORD_MAX: usize = 1024;

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
    },
    /// List the passwords by name; none is shown.
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
        Args::List { account } => list(&vault()?, config.account(&account)?, streams),
        Args::Remove { account, name } => {
            remove(&vault()?, config.account(&account)?, &name, streams)
        }
        Args::Add {
            account,
            name,
            generate: _,
            stdin,
            from,
            protocol,
        } => {
            let account = config.account(&account)?;
            let restrictions = Restrictions { from, protocol };
            add(&vault()?, account, name, stdin, restrictions, streams)
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

/// Where a password is good.
struct Restrictions {
    from: Vec<IpNet>,
    protocol: Option<Protocol>,
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
    };
    password::add(vault, account, named)?;
    writeln!(streams.words, "{words}")?;
    if let Password::Generated(password) = &password {
        writeln!(streams.words, "It is shown only now:")?;
        writeln!(streams.out, "{}", password.expose_secret())?;
    }
    Ok(())
}

fn list(vault: &Vault, account: &Account, streams: &mut Streams<'_>) -> Result<(), PasswordError> {
    let passwords = password::list(vault, &account.address)?;
    let longest = passwords.iter().map(|named| named.name.chars().count());
    let width = longest.max().unwrap_or(0);
    for named in &passwords {
        let (name, created) = (&named.name, named.created);
        let uses = uses(named);
        writeln!(streams.out, "{name:width$}  {created}  {uses}")?;
    }
    match (passwords.len(), account.password_hashes.len()) {
        (0, 0) => writeln!(
            streams.words,
            "{0} has no password yet; see: mailwicket password add {0}",
            account.address
        )?,
        (_, 0) => {}
        (_, more) => writeln!(streams.words, "The configuration has {more} more.")?,
    }
    Ok(())
}

/// Where a password is good, in words: `smtp from 192.0.2.0/24, 2001:db8::/32`.
fn uses(named: &NamedPassword) -> String {
    let protocol = named.protocol.map_or("any protocol", Protocol::word);
    let from: Vec<_> = named.from.iter().map(IpNet::to_string).collect();
    match from.as_slice() {
        [] => format!("{protocol} from anywhere"),
        from => format!("{protocol} from {}", from.join(", ")),
    }
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
    match line {
        [] => Err(PasswordError::Input("the first line is empty")),
        line if line.len() > PASSWORD_MAX => {
            Err(PasswordError::Input("it is longer than 1024 octets"))
        }
        line if line.iter().any(|byte| matches!(byte, 0 | b'\r')) => {
            Err(PasswordError::Input("it holds NUL or CR"))
        }
        line => Ok(line.to_vec().into()),
    }
}

/// To the second, as people read it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>();
    let net = net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net| net.trunc())
        .map_err(|_| "a network is wanted, as 192.0.2.0/24, or an address".into())
}

fn protocol() -> impl TypedValueParser<Value = Protocol> {
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
    type Printed = (String, String);

    fn with_streams(
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
    fn the_list_tells_names_and_uses_and_no_hash() {
        let bench = Bench::new(&["$argon2id$of-the-file"]);
        add_to(&bench, "scanner", Some(b"right")).unwrap();
        let (out, words) =
            with_streams(b"", |streams| list(&bench.vault, &bench.alice, streams)).unwrap();
        assert!(out.starts_with("scanner  20"), "{out}");
        assert!(out.ends_with("Z  smtp from 192.0.2.0/24\n"), "{out}");
        assert!(!out.contains("argon2"), "{out}");
        assert_eq!(words, "The configuration has 1 more.\n");
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
                    --from ::1 --protocol smtp";
        let Args::Add { from, protocol, .. } = parse(line).unwrap() else {
            panic!("not an addition");
        };
        assert_eq!(from.len(), 2);
        assert_eq!(protocol, Some(Protocol::Smtp));
        for good in ["list a@x", "remove a@x scanner", "hash", "hash --stdin"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let odd = [
            "add a@x --generate --stdin",
            "add a@x --protocol ftp",
            "add a@x --from nowhere",
        ];
        for odd in odd {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
