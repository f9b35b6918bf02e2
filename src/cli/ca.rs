//! `mailwicket ca`: the local CA for mail programs that check certificates.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::Timestamp;

use super::{Exit, Global, print, say};
use crate::config::Config;
use crate::tls::ca::{self, Authority, CaError};
use crate::vault::Vault;

/// The local CA, which mail programs have to trust.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// Give the CA's certificate out; makes the CA if there is none
    Export {
        /// Give it in DER form instead of PEM
        #[arg(long)]
        der: bool,
        /// Write it to this file instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make a new CA; every mail program must be told to trust it
    Rotate,
}

/// Runs it.
pub fn run(args: Args, global: &Global) -> Exit {
    let done = global.load().and_then(|config| match args {
        Args::Export { der, out } => export(&config, der, out.as_deref(), global),
        Args::Rotate => rotate(&config, global),
    });
    done.err().unwrap_or(Exit::Done)
}

fn export(config: &Config, der: bool, out: Option<&Path>, global: &Global) -> Result<(), Exit> {
    let names = ca::names(config);
    let make = |vault: &Vault| Authority::load_or_make(vault, &names, Timestamp::now());
    let authority = with_vault(config, global, make)?;
    let content = match der {
        true => authority.der().as_ref(),
        false => authority.pem().as_bytes(),
    };
    match out {
        Some(path) => std::fs::write(path, content).map_err(|error| {
            say(&format!("error: cannot write {}: {error}", path.display()));
            Exit::Failed
        })?,
        None => io::stdout().lock().write_all(content).map_err(|error| {
            say(&format!("error: cannot write the output: {error}"));
            Exit::Failed
        })?,
    }
    say(&trust(&authority, out));
    for name in authority.lacking(&names) {
        say(&format!("warning: {}", beyond(&name.to_string())));
    }
    Ok(())
}

fn rotate(config: &Config, global: &Global) -> Result<(), Exit> {
    let names = ca::names(config);
    let make = |vault: &Vault| Authority::rotate(vault, &names, Timestamp::now());
    let authority = with_vault(config, global, make)?;
    say("There is a new local CA. A running mailwicket takes it up by itself; its sessions go on.");
    say(
        "Mail programs that trusted the old one now refuse to connect: have each of them trust the new one (mailwicket ca export), and take the old one away.",
    );
    print(&format!(
        "{}\t{}",
        authority.name(),
        authority.fingerprint()
    ))
}

fn with_vault(
    config: &Config,
    global: &Global,
    make: impl FnOnce(&Vault) -> Result<Authority, CaError>,
) -> Result<Authority, Exit> {
    let vault = Vault::open(&config.state_dir, &config.vault_key).map_err(CaError::from);
    let authority = vault.and_then(|vault| make(&vault));
    authority.map_err(|error| {
        global.say_error(&error);
        Exit::Failed
    })
}

/// What `check` says of the CA: names that it cannot vouch for. It makes nothing.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    if !ca::is_wanted(config) || !config.state_dir.join("vault").exists() {
        return Vec::new();
    }
    let vault = Vault::open(&config.state_dir, &config.vault_key).map_err(CaError::from);
    match vault.and_then(|vault| Authority::load(&vault)) {
        Ok(None) => Vec::new(),
        Err(error) => vec![error.to_string()],
        Ok(Some(authority)) => {
            let lacking = authority.lacking(&ca::names(config));
            let mut warnings: Vec<String> = lacking
                .iter()
                .map(|name| beyond(&name.to_string()))
                .collect();
            warnings.extend(authority.ending(Timestamp::now()));
            warnings
        }
    }
}

fn beyond(name: &str) -> String {
    format!(
        "the local CA was made before {name} was known and cannot vouch for it; run: mailwicket ca rotate"
    )
}

/// How each system and program is told to trust the CA.
fn trust(authority: &Authority, out: Option<&Path>) -> String {
    let file = out.map_or_else(
        || "mailwicket-ca.pem".to_owned(),
        |path| path.display().to_string(),
    );
    format!(
        "{name}, valid until {ends}
SHA-256 {fingerprint}

It can vouch for this house only (private names and addresses, and those in the configuration). With the certificate in {file}:
  Windows, Outlook    certutil -addstore Root {file}                    (as administrator; --der --out mailwicket-ca.cer for a double click)
  macOS, Apple Mail   sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {file}
  Debian, Ubuntu      sudo cp {file} /usr/local/share/ca-certificates/mailwicket.crt && sudo update-ca-certificates
  Red Hat, Fedora     sudo cp {file} /etc/pki/ca-trust/source/anchors/mailwicket.pem && sudo update-ca-trust
  Thunderbird         Settings, Privacy & Security, Certificates, Manage Certificates, Authorities, Import: trust it for websites
  Firefox             the same (it trusts the system's on Windows and macOS by itself)
  Java                keytool -importcert -cacerts -alias mailwicket -file {file}
  Android             Settings, Security, Encryption & credentials, Install a certificate, CA certificate
  iPhone, iPad        open the file, install the profile, then Settings, General, About, Certificate Trust Settings: switch it on
  msmtp, mpop         tls_trust_file {file}
  mutt, NeoMutt       set certificate_file = {file}
  mbsync, fetchmail   CertificateFile {file}; sslcertfile {file}
  curl                --cacert {file}
",
        name = authority.name(),
        ends = authority.ends(),
        fingerprint = authority.fingerprint(),
    )
}
