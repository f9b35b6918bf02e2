//! The real program against real files: `mailwicket check` and `mailwicket account`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mailwicket::config::{Config, Flow, SecretSource, Surroundings, UpstreamTls, edit};
use proptest::prelude::*;
use tempfile::TempDir;

/// A folder with a configuration in it.
struct Place {
    folder: TempDir,
    path: PathBuf,
}

impl Place {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailwicket.toml");
        fs::write(&path, text).unwrap();
        Self { folder, path }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = program();
        command.arg("--config").arg(&self.path).args(arguments);
        command.env("HOME", self.folder.path()).output().unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailwicket"));
    for variable in [
        "MAILWICKET_CONFIG",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "STATE_DIRECTORY",
        "HOME",
    ] {
        command.env_remove(variable);
    }
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `check` says about a text that has something wrong.
fn refusal(text: &str) -> String {
    let output = Place::with(text).run(&["check"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    stderr(&output)
}

const GOOD: &str = r#"# mine
[provider.p]   # the provider
preset = "microsoft"
tenant = "contoso.onmicrosoft.com"
client-id = "11111111-2222-3333-4444-555555555555"

[[listener]]
protocol = "imap"
provider = "p"
listen = "127.0.0.1:1143"

# Alice
[[account]]
address = "alice@contoso.com"
provider = "p"
# logins = ["alice"]

[timeouts]
token = "10s" # short
"#;

fn parsed(text: &str) -> Config {
    let around = Surroundings {
        state_dir: Some("/state".into()),
        ..Default::default()
    };
    Config::parse_in(text, Path::new("x.toml"), &around)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_full_example_passes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/full.toml");
    let output = program()
        .arg("check")
        .arg("--config")
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        out.ends_with("full.toml: 5 accounts, 4 listeners, 10 providers\n"),
        "{out}"
    );
}

#[test]
fn every_problem_is_cited_with_its_place() {
    // What is written, the place (line:column within it), and what is said; each in an otherwise good file.
    #[rustfmt::skip] // a table: one case is one line
    let cases: &[(&str, &str, &str)] = &[
        ("bogus = 1", "1:1", "unknown key `bogus`"),
        ("state-dri = 'x'", "1:1", "did you mean `state-dir`?"),
        ("state-dir = 7", "1:13", "expected a string, found an integer"),
        ("state-dir = ", "1:13", "error: "),
        ("state-dir = 'x'\nstate-dir = 'y'", "2:1", "duplicate key"),
        ("[console]\nlisten = '0.0.0.0:8047'", "2:10", "other machines"),
        ("[console]\nlisten = '0.0.0.0:8047'\nallow-from = []", "3:14", "names no address"),
        ("[console]\nlisten = '0.0.0.0:8047'\nallow-from = ['0.0.0.0/0']", "3:15", "too wide"),
        ("[console]\nallow-from = ['10.0.0.0/8']", "2:14", "of no use with a console on loopback"),
        ("[console]\nlisten = '[::1]:8047'\ncertificate = { file = 'x.pem' }", "3:15", "of no use with a console on loopback"),
        ("[console]\nlisten = '0.0.0.0:8047'\nallow-from = '10.0.0.1'\ncertificate = {}", "4:15", "`file` is missing"),
        ("[vault]\nkey = 'abc'", "2:7", "must not stand in the configuration"),
        ("[vault]\nkey = { file = 'a', env = 'b' }", "2:7", "needs one source, not 2"),
        ("[vault]\nstore = { postgres = 'x' }", "2:9", "not in this version yet"),
        ("[metrics]\nlisten = '127.0.0.1:1'", "2:10", "not in this version yet"),
        ("[notify]\ncommand = []", "2:11", "not a command"),
        ("[notify]\nwebhook = 'http://hooks.example/x'", "2:11", "https"),
        ("[timeouts]\ntoken = 'soon'", "2:9", "is not a duration"),
        ("[timeouts]\ntoken = '0s'", "2:9", "longer than nothing"),
        ("[timeouts]\nconnect = '20s'\nconnect-total = '10s'", "3:17", "shorter than `connect`"),
        ("[limits]\nsessions = 0", "2:12", "a number from 1 to"),
        ("[limits]\nsessions = -1", "2:12", "a number from 1 to"),
        ("[limits]\nline-before-login = 80", "2:21", "a number from 512"),
        ("[log]\nlevel = 'inof'", "2:9", "not a log level"),
        ("[log]\nformat = 'xml'", "2:10", "unknown value `xml`"),
        ("[provider.p]\npreset = 'gogle'\nclient-id = 'x'", "2:10", "did you mean `google`? this version knows microsoft, microsoft-personal,"),
        ("[provider.p]\npreset = 'google'", "1:1", "`client-id` is missing"),
        ("[provider.p]\npreset = 'google'\nclient-id = ''", "3:13", "`client-id` is empty"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'YOUR-CLIENT-ID'", "3:13", "is a sample"),
        ("[provider.p]\npreset = 'google'\nclient-id = '…'", "3:13", "is a sample"),
        ("[provider.p]\npreset = 'google'\nclient-id = '*** your client id here ***'", "3:13", "is a sample"),
        ("[provider.p]\npreset = 'google'\nclient-id = '123456789012-xxxx.apps.googleusercontent.com'", "3:13", "is a sample"),
        ("[provider.p]\npreset = 'zoho'\nclient-id = '1000.XXXXXXXX'", "3:13", "is a sample"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nclient-secret = 'your client secret'", "4:17", "is a sample"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'APPLICATION-ID'", "3:13", "is a sample"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\ntenant = 'y'", "4:10", "no meaning"),
        ("[provider.p]\npreset = 'Gmail'\nclient-id = 'x'", "2:10", "did you mean `google`?"),
        ("[provider.p]\npreset = 'zoho'\nregion = 'us'\nclient-id = 'x'", "3:10", "there are: com, eu, in"),
        ("[provider.p]\npreset = 'google'\nregion = 'com'\nclient-id = 'x'", "3:10", "no meaning"),
        ("[provider.p]\npreset = 'microsoft-personal'\ntenant = 'contoso.com'\nclient-id = 'x'", "3:10", "no meaning"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nflow = 'client-credentials'\nclient-secret = 's'", "1:1", "no application opens mailboxes"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nflow = 'device-code'", "1:1", "no tokens for mail"),
        ("[provider.p]\nclient-id = 'x'\nflow = 'device-code'\ntoken-url = 'https://x'\nimap = { host = 'x' }", "1:1", "`device-url` is missing"),
        ("[provider.p]\npreset = 'google'\nflow = 'service-account'", "1:1", "needs a `service-account`"),
        ("[provider.p]\npreset = 'microsoft'\nflow = 'service-account'\nservice-account = { file = 'x' }", "1:1", "no service accounts"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nservice-account = { file = 'x' }", "4:19", "has no meaning with flow"),
        ("[provider.p]\npreset = 'google'\nflow = 'managed-identity'", "1:1", "no application opens mailboxes"),
        ("[provider.p]\npreset = 'microsoft'\nflow = 'managed-identity'\nclient-secret = 's'", "4:17", "has no meaning with flow"),
        ("[provider.p]\npreset = 'microsoft'\ntenant = 'contoso.com'\nclient-id = 'x'\nflow = 'password'", "1:1", "needs `allow-password-grant = true`"),
        ("[provider.p]\npreset = 'microsoft'\ntenant = 'contoso.com'\nclient-id = 'x'\nflow = 'password'\nallow-password-grant = false", "1:1", "needs `allow-password-grant = true`"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nflow = 'password'\nallow-password-grant = true", "1:1", "`tenant` is missing: a password"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nflow = 'password'\nallow-password-grant = true", "1:1", "no password is exchanged"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nallow-password-grant = true", "4:24", "has no meaning with flow"),
        ("[provider.p]\npreset = 'microsoft'\ntenant = 'contoso.com'\nclient-id = 'x'\nflow = 'client-credentials'\nclient-secret = 's'\ncertificate = { file = 'x' }", "7:15", "`certificate` and `client-secret` stand for each other"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\ncertificate = { key = { file = 'x' } }", "4:15", "`file` is missing"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\ncertificate = 'app.pem'", "4:15", "expected a table like"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\ncertificate = { file = 'x', key = 'secret-password', algorithm = 'none' }", "4:66", "unknown value `none`"),
        ("[provider.p]\npreset = 'microsoft-gcc-high'\nclient-id = 'x'\nscopes = ['https://outlook.office365.com/SMTP.Send']", "4:11", "is not of the cloud"),
        ("[provider.p]\nclient-id = 'x'\nimap = { host = 'x' }\nissuer = 'https://x'\nscopes = ['https://outlook.office365.us/SMTP.Send', 'https://outlook.office365.com/SMTP.Send']", "5:53", "one token cannot be for both"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nflow = 'magic'", "4:8", "unknown value `magic`"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = 'https://x:secret-password@x:1'", "4:10", "does not speak TLS with the proxy"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = 'http://x'", "4:10", "has no port"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = 'direct'", "4:10", "has no port"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = 7", "4:10", "a string, or a table { url = …"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = {}", "4:10", "`url` is missing"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = { url = 'socks4://x' }", "4:18", "must begin with http:// or socks5://"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = { url = 'socks5://x', user = 7 }", "4:39", "expected a string"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = { url = 'socks5://x', pasword = 'secret-password' }", "4:32", "did you mean `password`?"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = { url = 'http://x:1', password = 'secret-password' }", "4:10", "no user name"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = { url = 'http://a:secret-password@x:1', user = 'b' }", "4:18", "both in the URL and beside it"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = { url = 'socks5://x', user = 'b' }", "4:10", "no password"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\negress = { url = 'socks5://x', user = 'b', password = {} }", "4:55", "needs one source, not 0"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\ndevice-url = 'http://example.com'", "4:14", "in clear"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\ntoken-url = 'http://example.com/'", "4:13", "in clear"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nredirect-url = 'https://example.com/'", "4:16", "--method paste"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nscopes = ['a b']", "4:11", "a scope has no spaces"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nauthorize-params = { state = 'x' }", "4:22", "set by mailwicket itself"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nca-file = 'absent.pem'", "4:11", "cannot use the CA file"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nimap = { host = 'x:993' }", "4:17", "is not a host name"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nimap = { port = 993 }", "4:8", "`host` is missing"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nimap = { host = 'x', tls = 'none' }", "4:28", "unknown value `none`"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nclient-secret = {}", "4:17", "needs one source, not 0"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nclient-secret-expires = 12:00:00", "4:25", "is not a date"),
        ("[provider.p]\nclient-id = 'x'\nimap = { host = 'x' }", "1:1", "`authorize-url` and `token-url` are missing"),
        ("[provider.p]\nclient-id = 'x'\nissuer = 'https://x'", "1:1", "no mail server"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nflow = 'client-credentials'\nclient-secret = 's'", "1:1", "`tenant` is missing"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nflow = 'client-credentials'\nclient-secret = 's'\ntenant = 'common'", "6:10", "is not a tenant in which"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nflow = 'client-credentials'\ntenant = 'contoso.com'", "1:1", "needs a `client-secret`"),
        ("[provider.p]\nclient-id = 'x'\nflow = 'client-credentials'\nclient-secret = 's'\ntoken-url = 'https://login.microsoftonline.com/common/oauth2/v2.0/token'\nimap = { host = 'x' }", "5:13", "for everybody"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nscopes = ['https://outlook.office.com/SMTP.Send', 'https://graph.microsoft.com/Mail.Send']", "4:51", "one token cannot be for both"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nscopes = ['IMAP.AccessAsUser.All', 'offline_access']", "4:11", "Microsoft Graph, which the mail servers refuse"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nscopes = ['https://outlook.office.com/SMTP.Send', 'https://management.azure.com/user_impersonation']", "4:51", "one token cannot be for two services"),
        ("[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nscopes = ['openid', 'offline_access']", "4:10", "none of these scopes opens a mailbox"),
        ("[provider.p]\npreset = 'google'\nclient-id = 'x'\nscopes = ['https://www.googleapis.com/auth/gmail.send']", "4:10", "none of these scopes opens a mailbox"),
        ("[provider.p]\nclient-id = 'x'\nflow = 'client-credentials'\nclient-secret = 's'\nissuer = 'https://login.microsoftonline.com/common/v2.0'\nimap = { host = 'x' }", "5:10", "for everybody"),
        ("[provider.'a b']\npreset = 'google'\nclient-id = 'x'", "1:11", "cannot be the name"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'goood'\nlisten = '127.0.0.1:1'", "3:12", "did you mean `good`?"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'", "1:1", "`listen` is missing"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = []", "4:10", "names no address"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '192.168.1.2:143'", "4:10", "other machines"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = 'localhost:1143'", "4:10", "[\"127.0.0.1:1143\", \"[::1]:1143\"]"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = ['127.0.0.1:9', '127.0.0.1:9']", "4:26", "taken already"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:8047'", "4:10", "taken already"),
        ("[[listener]]\nprotocol = 'pop3'\nprovider = 'good'\nlisten = '127.0.0.1:9'", "3:12", "has no pop3 server"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = ['127.0.0.1:9', '[::]:9']", "4:26", "add allow-plaintext-from"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\ntls = 'ssl'", "5:7", "unknown value `ssl`"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\nallow-plaintext-from = ['lan']", "5:25", "no address and no network"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\nallow-plaintext-from = []", "5:24", "names no address"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\ntls = 'implicit'\nallow-plaintext-from = '10.0.0.0/8'", "6:24", "no meaning"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\ncertificate = { file = 'x' }", "5:15", "of no use"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\ntls = 'auto'\ncertificate = { key = { file = 'x' } }", "6:15", "`file` is missing"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\ntls = 'auto'\ncertificate = { file = 'x', key = { env = 'X' } }", "6:35", "must be in a file"),
        ("[ca]\nnames = ['*.lan']", "2:10", "neither a host name nor an address"),
        ("[timeouts]\ntls = '0s'", "2:7", "longer than nothing"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\nproxy-protocol-from = []", "5:23", "names no address"),
        ("[[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\nproxy-protocol-from = ['10.0.0.5', '0.0.0.0/0']", "5:36", "may claim to come from any address"),
        ("[listener]\nprotocol = 'imap'", "1:1", "double brackets"),
        ("[[account]]\naddress = 'alice'\nprovider = 'good'", "2:11", "not a mail address"),
        ("[[account]]\naddress = 'a@x.iam.gserviceaccount.com'\nprovider = 'good'", "2:11", "no mailbox"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\nauthorize-as = 'a@x.iam.gserviceaccount.com'", "4:16", "no mailbox"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\nlogins = []", "4:10", "nobody could log in"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\nlogins = \"a\\u0001\"", "4:10", "control characters"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\nidentity = \"a\\u0001\"", "4:12", "control characters"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\n[[account]]\naddress = 'A@B'\nprovider = 'good'", "5:11", "another account"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\n[[account]]\naddress = 'c@d'\nlogins = ['C', 'A@b']\nprovider = 'good'", "6:16", "belongs to the account `a@b` as well"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\npassword-hash = ['secret-password']", "4:18", "password hash is not taken"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\nmax-upstream = { imap = 0 }", "4:25", "a number from 1 to 1000000"),
        ("[[account]]\naddress = 'a@b'\nprovider = 'good'\nmax-upstream = 'many'", "4:16", "a number, or a table"),
    ];
    let good = "\n[provider.good]\nclient-id = 'x'\nissuer = 'https://x'\nimap = { host = 'x' }\n";
    for (written, place, said) in cases {
        let out = refusal(&format!("{written}\n{good}"));
        assert!(
            out.contains(&format!("mailwicket.toml:{place}\n")),
            "{written}\n{out}"
        );
        assert!(out.contains(said) && out.contains('^'), "{said}\n{out}");
        assert!(!out.contains("secret-password"), "{out}");
        assert!(
            out.ends_with("1 problem in the configuration\n"),
            "only the one\n{out}"
        );
    }
}

#[test]
fn devices_without_login_need_addresses_and_an_account_of_the_listener() {
    // What stands in `without-login`, the place (line:column), and what is said.
    #[rustfmt::skip] // a table: one case is one line
    let cases: &[(&str, &str, &str, &str)] = &[
        ("smtp", "account = 'a@b.c'", "5:17", "`from` is missing"),
        ("smtp", "account = 'a@b.c', from = []", "5:45", "`from` names no address"),
        ("smtp", "account = 'a@b.c', from = ['0.0.0.0/0']", "5:46", "may send mail as this account, without any password"),
        ("smtp", "account = 'a@b.c', from = ['::/0']", "5:46", "is too wide"),
        ("smtp", "account = 'a@b.c', from = 'scanner.local'", "5:45", "is no address and no network"),
        ("smtp", "from = '192.168.1.20'", "5:17", "`account` is missing"),
        ("smtp", "account = 'x@b.c', from = '192.168.1.20'", "5:29", "there is no sound account `x@b.c`"),
        ("smtp", "account = 'other@b.c', from = '192.168.1.20'", "5:29", "belongs to provider `other`"),
        ("imap", "account = 'a@b.c', from = '192.168.1.20'", "5:17", "is for sending mail, not for imap"),
        ("smtp", "account = 'a@b.c', from = '192.168.1.20', senders = []", "5:71", "no mail could be sent"),
        ("smtp", "account = 'a@b.c', from = '192.168.1.20', senders = ['a@b.c', '*']", "5:81", "is no sender"),
        ("smtp", "account = 'a@b.c', from = '192.168.1.20', senders = ['*@*.c']", "5:72", "for every address of a domain"),
        ("smtp", "account = 'a@b.c', from = '192.168.1.20', sender = 'a@b.c'", "5:61", "did you mean `senders`?"),
        ("smtp", "account = 'a@b.c', from = 1", "5:45", "expected"),
    ];
    let of = |name: &str| {
        format!(
            "[provider.{name}]\nclient-id = 'x'\nissuer = 'https://x'\nimap = {{ host = 'x' }}\nsmtp = {{ host = 'x' }}\n"
        )
    };
    let accounts = "[[account]]\naddress = 'a@b.c'\nprovider = 'good'\n[[account]]\naddress = 'other@b.c'\nprovider = 'other'\n";
    for (protocol, written, place, said) in cases {
        let listener = format!(
            "[[listener]]\nprotocol = '{protocol}'\nprovider = 'good'\nlisten = '127.0.0.1:9'\nwithout-login = {{ {written} }}\n"
        );
        let out = refusal(&format!(
            "{listener}{}{}{accounts}",
            of("good"),
            of("other")
        ));
        assert!(
            out.contains(&format!("mailwicket.toml:{place}\n")) && out.contains(said),
            "{written}\n{out}"
        );
        assert!(
            out.ends_with("1 problem in the configuration\n"),
            "only the one\n{out}"
        );
    }
}

#[test]
fn a_whole_domain_needs_an_application_and_has_nothing_of_one_mailbox() {
    // What stands in the table, the place (line:column), and what is said.
    #[rustfmt::skip] // a table: one case is one line
    let cases: &[(&str, &str, &str)] = &[
        ("address = '*@b.c'\nprovider = 'person'", "2:11", "let the application sign in"),
        ("address = '*@b.c'\nprovider = 'app'\nlogins = 'x'", "4:10", "each mailbox logs in with its address"),
        ("address = '*@b.c'\nprovider = 'app'\npassword-hash = 'x'", "4:17", "mailwicket password add"),
        ("address = '*@b.c'\nprovider = 'app'\nauthorize-as = 'a@b.c'", "4:16", "in that mailbox's own name"),
        ("address = '*@b.c'\nprovider = 'app'\nidentity = 'a@b.c'", "4:12", "is for one mailbox"),
        ("address = '*@b.c'\nprovider = 'app'\nidentity = { smtp = 'a@b.c' }", "4:12", "is for one mailbox"),
        ("address = '*@b.c'\nprovider = 'app'\nmax-upstream = 0", "4:16", "a number from 1 to"),
        ("address = '*@b.c'\nprovider = 'apq'", "3:12", "did you mean `app`?"),
        ("address = 'x*@b.c'\nprovider = 'app'", "2:11", "write `*@DOMAIN`"),
        ("address = '*@*.c'\nprovider = 'app'", "2:11", "subdomains are others"),
        ("address = '*@b@c'\nprovider = 'app'", "2:11", "write `*@DOMAIN`"),
        ("address = '*@b c'\nprovider = 'app'", "2:11", "is not a mail address"),
        ("address = '*@'\nprovider = 'app'", "2:11", "is not a mail address"),
        ("address = '*@b.c'\nprovider = 'app'\n[[account]]\naddress = '*@B.C'\nprovider = 'app'", "5:11", "there is another account"),
    ];
    let app = "[provider.app]\nclient-id = 'x'\nissuer = 'https://x'\nsmtp = { host = 'x' }\n\
               flow = 'client-credentials'\nclient-secret = 's'\nscopes = ['mail']\n";
    let person =
        "[provider.person]\nclient-id = 'x'\nissuer = 'https://x'\nsmtp = { host = 'x' }\n";
    for (written, place, said) in cases {
        let out = refusal(&format!("[[account]]\n{written}\n{app}{person}"));
        assert!(
            out.contains(&format!("mailwicket.toml:{place}\n")) && out.contains(said),
            "{written}\n{out}"
        );
        assert!(
            out.ends_with("1 problem in the configuration\n"),
            "only the one\n{out}"
        );
    }
    // Who needs no password must not hang on who has one.
    let device = "[[listener]]\nprotocol = 'smtp'\nprovider = 'app'\nlisten = '127.0.0.1:9'\n\
                  without-login = { account = 'a@b.c', from = '192.168.1.20' }\n";
    let domain = "[[account]]\naddress = '*@b.c'\nprovider = 'app'\n";
    let out = refusal(&format!("{app}{domain}{device}"));
    assert!(out.contains("an [[account]] with this address"), "{out}");
    let own = domain.replace("*@", "a@");
    let config = parsed(&format!("{app}{domain}{device}{own}"));
    let terms = config.listeners[0].without_login.as_ref().unwrap();
    assert_eq!(terms.account.address, "a@b.c");
    assert_eq!(config.roster.accounts().len(), 1);
    assert_eq!(config.account("B@b.c").unwrap().address, "b@b.c");
}

#[test]
fn a_whole_domain_is_added_listed_and_removed() {
    let text = GOOD.replace(
        "client-id =",
        "flow = \"client-credentials\"\nclient-secret = \"s3cret\"\nclient-id =",
    );
    let place = Place::with(&text);
    let added = place.run(&["account", "add", "*@contoso.com", "--provider", "p"]);
    assert!(added.status.success(), "{}", stderr(&added));
    assert!(stderr(&added).contains("mailwicket password add NAME@contoso.com"));
    let list = String::from_utf8(place.run(&["account", "list"]).stdout).unwrap();
    assert!(
        list.ends_with("\n*@contoso.com\tp\t*@contoso.com\n"),
        "{list}"
    );
    let check = String::from_utf8(place.run(&["check"]).stdout).unwrap();
    assert!(check.contains("1 account, 1 whole domain, "), "{check}");
    let removed = place.run(&["account", "remove", "*@contoso.com"]);
    assert!(removed.status.success(), "{}", stderr(&removed));
    assert_eq!(place.text(), text);
}

#[test]
fn several_problems_are_listed_at_once_in_the_order_of_the_file() {
    let out = refusal(
        "bogus = 1\n[log]\nlevel = 5\n[provider.p]\npreset = 'google'\nclient-id = 'x'\nscopes = [1, 'https://mail.google.com/', 2]\n\
         [[account]]\naddress = 'a'\nprovider = 'q'\n",
    );
    let places = ["1:1", "3:9", "7:11", "7:42", "9:11", "10:12"];
    let found: Vec<_> = places
        .iter()
        .map(|place| out.find(&format!(".toml:{place}\n")))
        .collect();
    assert!(
        found.iter().all(Option::is_some) && found.is_sorted(),
        "{found:?}\n{out}"
    );
    assert!(out.ends_with("6 problems in the configuration\n"), "{out}");
}

#[test]
fn syntax_errors_are_listed_without_secrets() {
    let out = refusal("[provider.p]\nclient-secret = \"hunter2\nclient-id = = 'x'\n");
    assert!(
        out.contains("mailwicket.toml:2:") && out.contains("mailwicket.toml:3:"),
        "{out}"
    );
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn colour_comes_only_when_asked_for() {
    let place = Place::with("bogus = 1");
    assert!(!stderr(&place.run(&["check"])).contains('\u{1b}'));
    assert!(stderr(&place.run(&["check", "--color", "always"])).contains('\u{1b}'));
}

#[test]
fn a_missing_file_is_named_and_so_are_the_places_looked_at() {
    let output = program()
        .args(["check", "--config", "/nonexistent/x.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot read the configuration /nonexistent/x.toml"));
    let output = program()
        .arg("check")
        .env("HOME", "/nonexistent")
        .env("MAILWICKET_CONFIG", "") // as good as none
        .output()
        .unwrap();
    if !Path::new("/etc/mailwicket/mailwicket.toml").exists() {
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("/nonexistent/.config/mailwicket/mailwicket.toml"));
    }
}

#[test]
fn a_file_that_is_not_text_says_the_line() {
    let place = Place::with("");
    fs::write(&place.path, b"# ok\n# \xff\n").unwrap();
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("mailwicket.toml:2: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_byte_order_mark_and_windows_lines_are_taken() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert_eq!(Place::with(&text).run(&["check"]).status.code(), Some(0));
    let out = refusal("\u{feff}# x\r\nbogus = 1\r\n");
    assert!(out.contains(".toml:2:1\n"), "{out}");
}

#[test]
fn presets_fill_in_what_is_not_written() {
    let config = parsed(GOOD);
    let provider = &config.providers[0];
    assert_eq!(
        provider.token_url.as_ref().unwrap().as_str(),
        "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
    );
    assert_eq!(provider.redirect_url.as_str(), "http://localhost/");
    assert!(provider.scopes.contains(&"offline_access".to_owned()));
    let smtp = provider.smtp.as_ref().unwrap();
    assert_eq!(
        (smtp.host.as_str(), smtp.port, smtp.tls),
        ("smtp.office365.com", 587, UpstreamTls::StartTls)
    );
    assert_eq!(config.roster.accounts()[0].logins, ["alice@contoso.com"]);
    assert_eq!(
        config.roster.accounts()[0].identity.smtp,
        "alice@contoso.com"
    );
    assert_eq!(config.timeouts.connect_total.as_secs(), 30);

    let google = parsed(
        "[provider.g]\npreset = 'google'\nclient-id = 'x'\nauthorize-params = { prompt = 'select_account' }",
    );
    let google = &google.providers[0];
    assert_eq!(google.redirect_url.as_str(), "http://127.0.0.1/");
    let params = [("access_type", "offline"), ("prompt", "select_account")];
    assert_eq!(
        google.authorize_params,
        params.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_region_decides_the_hosts_and_a_cloud_its_own() {
    let config = parsed(
        "[provider.z]\npreset = 'zoho'\nregion = 'com.au'\nclient-id = 'x'\n\
         [provider.g]\npreset = 'microsoft-gcc-high'\ntenant = 'contoso.us'\nclient-id = 'x'\n\
         [provider.p]\npreset = 'microsoft-personal'\nclient-id = 'x'\nflow = 'device-code'",
    );
    let provider = |name: &str| {
        let mut all = config.providers.iter();
        all.find(|provider| provider.name == name).unwrap()
    };
    let url = |url: &Option<url::Url>| url.as_ref().unwrap().to_string();
    let zoho = provider("z");
    assert_eq!(
        url(&zoho.token_url),
        "https://accounts.zoho.com.au/oauth/v2/token"
    );
    assert_eq!(zoho.imap.as_ref().unwrap().host, "imap.zoho.com.au");
    assert!(zoho.smtp.is_none());
    assert_eq!(
        url(&provider("g").token_url),
        "https://login.microsoftonline.us/contoso.us/oauth2/v2.0/token"
    );
    let personal = provider("p");
    assert_eq!(
        url(&personal.device_url),
        "https://login.microsoftonline.com/consumers/oauth2/v2.0/devicecode"
    );
    assert_eq!(personal.flow, Flow::DeviceCode);
}

#[test]
fn flows_of_applications_fill_in_what_they_ask_and_where() {
    let config = parsed(
        "[provider.a]\npreset = 'microsoft'\nflow = 'managed-identity'\n\
         [provider.b]\npreset = 'google'\nflow = 'service-account'\nservice-account = { file = 'key.json' }\n\
         [[account]]\naddress = 'support@contoso.com'\nprovider = 'b'\nauthorize-as = 'alice@contoso.com'",
    );
    let [machine, workspace] = &config.providers[..] else {
        panic!("two")
    };
    assert_eq!(
        machine.token_url.as_ref().unwrap().as_str(),
        "http://169.254.169.254/metadata/identity/oauth2/token"
    );
    assert_eq!(machine.scopes, ["https://outlook.office365.com/.default"]);
    assert_eq!(workspace.scopes, ["https://mail.google.com/"]);
    assert_eq!(machine.client_id, "");
}

#[test]
fn a_certificate_that_ends_and_a_registration_that_nobody_can_make_are_warned_of() {
    let text = "[provider.p]\npreset = 'microsoft'\ntenant = 'contoso.com'\nclient-id = 'x'\n\
                flow = 'client-credentials'\ncertificate = { file = 'app.pem', key = { file = 'app.key' } }\n\
                [provider.y]\npreset = 'yahoo'\nclient-id = 'x'\n";
    let place = Place::with(text);
    let out = stderr(&place.run(&["check"]));
    assert!(out.contains("cannot read the certificate"), "{out}");
    assert!(out.contains("application form"), "{out}");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["app".into()]).unwrap();
    let soon = jiff::Zoned::now()
        .date()
        .checked_add(jiff::Span::new().days(20))
        .unwrap();
    let (month, day) = (
        soon.month().try_into().unwrap(),
        soon.day().try_into().unwrap(),
    );
    params.not_after = rcgen::date_time_ymd(soon.year().into(), month, day);
    let folder = place.folder.path();
    fs::write(
        folder.join("app.pem"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    let path = folder.join("app.key");
    fs::write(&path, key.serialize_pem()).unwrap();
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let out = stderr(&output);
    let said = format!("the certificate of provider `p` ends on {soon}");
    assert!(out.contains(&said), "{out}");
    assert!(!out.contains("cannot read"), "{out}");
}

#[test]
fn the_provider_of_a_new_account_is_guessed_from_its_address() {
    let place = Place::with(
        "[provider.mine]\npreset = 'google'\nclient-id = 'x'\nclient-secret = 's'\n\
         [provider.b]\npreset = 'yahoo'\nclient-id = 'x'\n[provider.c]\npreset = 'yahoo'\nclient-id = 'y'\n",
    );
    for (address, said) in [
        ("a@outlook.com", "preset = \"microsoft-personal\""),
        ("a@yahoo.co.uk", "one of: b, c"),
        ("a@gmx.de", "no tokens"),
        ("a@contoso.com", "one of: b, c, mine"),
    ] {
        let output = place.run(&["account", "add", address]);
        assert_eq!(output.status.code(), Some(2), "{address}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let output = place.run(&["account", "add", "a@gmail.com"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        place
            .text()
            .contains("address = \"a@gmail.com\"\nprovider = \"mine\"")
    );
}

#[test]
fn an_application_asks_for_its_permissions_as_a_whole() {
    let config = parsed(
        "[provider.p]\npreset = 'microsoft'\nclient-id = 'x'\nflow = 'client-credentials'\nclient-secret = { file = 's' }\ntenant = 'contoso.com'",
    );
    let provider = &config.providers[0];
    assert_eq!(provider.flow, Flow::ClientCredentials);
    assert_eq!(provider.scopes, ["https://outlook.office365.com/.default"]);
}

#[test]
fn the_port_and_tls_of_a_server_follow_from_each_other() {
    let text = |server: &str| {
        format!("[provider.p]\nclient-id = 'x'\nissuer = 'http://127.0.0.1:1'\nsmtp = {server}")
    };
    for (server, port, tls) in [
        ("{ host = 'h' }", 465, UpstreamTls::Implicit),
        ("{ host = 'h', port = 587 }", 587, UpstreamTls::StartTls),
        (
            "{ host = 'h', tls = 'starttls' }",
            587,
            UpstreamTls::StartTls,
        ),
        (
            "{ host = 'h', port = 587, tls = 'implicit' }",
            587,
            UpstreamTls::Implicit,
        ),
        ("{ host = 'h', port = 12345 }", 12345, UpstreamTls::Implicit),
    ] {
        let config = parsed(&text(server));
        let smtp = config.providers[0].smtp.as_ref().unwrap();
        assert_eq!((smtp.port, smtp.tls), (port, tls), "{server}");
    }
}

#[test]
fn paths_are_relative_to_the_file_and_the_vault_key_to_the_state() {
    let around = Surroundings {
        state_home: Some("/home/a/.local/state".into()),
        ..Default::default()
    };
    let parse =
        |text: &str| Config::parse_in(text, Path::new("/etc/mailwicket/x.toml"), &around).unwrap();
    let file = |config: &Config| match &config.vault_key {
        SecretSource::File(path) => path.clone(),
        other => panic!("{other:?}"),
    };
    let default = parse("");
    assert_eq!(
        default.state_dir,
        Path::new("/home/a/.local/state/mailwicket")
    );
    assert_eq!(file(&default), default.state_dir.join("vault.key"));
    let written = parse("state-dir = 'state'\n[vault]\nkey = { file = 'vault.key' }");
    assert_eq!(written.state_dir, Path::new("/etc/mailwicket/state"));
    assert_eq!(file(&written), Path::new("/etc/mailwicket/vault.key"));
    assert!(Config::parse_in("", Path::new("/x"), &Surroundings::default()).is_err());
}

#[test]
fn warnings_are_words_and_no_failure() {
    let text = format!(
        "{GOOD}[provider.idle]\npreset = 'google'\nclient-id = 'x'\nclient-secret-expires = 2020-01-01\n"
    );
    let output = Place::with(&text).run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let out = stderr(&output);
    assert!(
        out.contains("warning: provider `idle` has no account\n"),
        "{out}"
    );
    assert!(
        out.contains("its token endpoint wants it") && out.contains("ended on 2020-01-01"),
        "{out}"
    );
}

#[test]
fn an_account_is_added_listed_and_removed_and_the_rest_stays() {
    let place = Place::with(GOOD);
    let output = place.run(&[
        "account",
        "add",
        "bob@contoso.com",
        "--provider",
        "p",
        "--login",
        "bob",
        "--login",
        "b2",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let block = "[[account]]\naddress = \"bob@contoso.com\"\nprovider = \"p\"\nlogins = [\"bob\", \"b2\"]\n";
    let expected = GOOD.replace("\n\n[timeouts]", &format!("\n\n{block}\n[timeouts]"));
    assert_eq!(place.text(), expected);

    let listed = place.run(&["account", "list"]);
    let lines = "alice@contoso.com\tp\talice@contoso.com\nbob@contoso.com\tp\tbob, b2\n";
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), lines);

    let output = place.run(&["account", "remove", "BOB@contoso.com"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.text(), GOOD);
}

#[test]
fn a_change_that_would_be_wrong_is_refused_and_not_written() {
    let place = Place::with(GOOD);
    for (arguments, said) in [
        (
            &["account", "add", "bob@contoso.com", "--provider", "q"][..],
            "unknown provider `q`",
        ),
        (
            &["account", "add", "Alice@contoso.com", "--provider", "p"],
            "another account",
        ),
        (
            &["account", "add", "bob", "--provider", "p"],
            "not a mail address",
        ),
        (
            &["account", "remove", "bob@contoso.com"],
            "there is no account bob@contoso.com",
        ),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert_eq!(place.text(), GOOD);
    }
}

#[test]
fn help_is_no_failure_and_wrong_use_is() {
    assert_eq!(
        program().arg("--help").output().unwrap().status.code(),
        Some(0)
    );
    assert_eq!(
        program().arg("--bogus").output().unwrap().status.code(),
        Some(2)
    );
    assert_eq!(
        program()
            .args(["account", "add"])
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
}

/// Pieces of a configuration, so that more than the first line of a random text is looked at.
fn piece() -> impl Strategy<Value = String> {
    #[rustfmt::skip] // words, not lines
    const WORDS: &[&str] = &[
        "[provider.p]", "[[listener]]", "[[account]]", "[account.identity]", "[log]",
        "[timeouts]", "[vault]", "client-id", "preset", "listen", "address", "client-secret",
        "key", "scopes", "imap", "provider", " = ", "=", "{", "}", "[", "]", ",", "\"", "'",
        "\"\"\"", "\n", "\r\n", "\"x\"", "'microsoft'", "{ file = 'x' }", "{ host = 'h' }", "1",
        "2027-01-01", "true", ".", "é", "\u{feff}", "\0", "#", "\u{1b}[31m",
    ];
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,4}".prop_map(|s| s)]
}

fn filled_lines(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .collect()
}

/// Parts of a well-formed file, in any order.
fn block() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(
        &[
            "# é\n\n",
            "\n",
            "[log]\nlevel = 'info' # é\n",
            "[timeouts]\n# é\n",
            "[[account]]\naddress = 'é@x'\n",
            "# mine\n[[account]]\naddress = 'b@x'\n[account.identity]\nimap = 'b' # é\n# more\n\n",
            "[[listener]]\nlisten = [\n'127.0.0.1:1',\n]\n",
        ][..],
    )
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = Config::parse(&text, Path::new("x.toml")).map_err(|problems| problems.render(true));
    }

    #[test]
    fn no_odd_configuration_makes_the_parser_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        let problems = Config::parse(&pieces.concat(), Path::new("x.toml")).map_err(|problems| problems.to_string());
        if let Err(shown) = problems {
            let escapes = shown.contains('\u{1b}');
            prop_assert!(shown.contains("x.toml") && !escapes);
        }
    }

    #[test]
    fn no_odd_configuration_makes_an_edit_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        let account = edit::NewAccount { address: "new@x".into(), provider: "p".into(), ..Default::default() };
        if let Ok(added) = edit::add_account(&text, &account) {
            let removed = edit::remove_account(&added, "new@x");
            prop_assert!(removed.is_ok(), "{added:?}");
        }
    }

    #[test]
    fn an_edit_changes_nothing_else(
        bom in any::<bool>(),
        windows in any::<bool>(),
        blocks in proptest::collection::vec(block(), 0..6),
    ) {
        let text = format!("{}{}", if bom { "\u{feff}" } else { "" }, blocks.concat());
        let text = if windows { text.replace('\n', "\r\n") } else { text };
        let account = edit::NewAccount { address: "new@x".into(), provider: "p".into(), ..Default::default() };
        if let Ok(added) = edit::add_account(&text, &account) {
            // All but empty lines: those between tables may change.
            let removed = edit::remove_account(&added, "NEW@x").unwrap();
            prop_assert_eq!(filled_lines(&removed), filled_lines(&text));
        } else {
            prop_assert!(toml::from_str::<toml::Table>(&text).is_err(), "{text:?}");
        }
    }
}

/// `check` with these variables and nothing else about proxies.
fn checked_with(text: &str, variables: &[(&str, &str)]) -> std::process::Output {
    let place = Place::with(text);
    let mut command = program();
    for name in ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(variables.iter().copied());
    let args = ["check", "--state-dir", "state", "--config"];
    command.args(args).arg(&place.path).output().unwrap()
}

#[test]
fn check_says_which_way_tokens_and_mail_leave() {
    let with = |egress: &str| GOOD.replace("preset = ", &format!("{egress}\npreset = "));
    let proxy = "egress = 'http://u:hunter2@p.corp:3128'";
    for (text, variables, said) in [
        (with(""), &[][..], ""),
        (
            with(proxy),
            &[("ALL_PROXY", "w:1")],
            "provider p: tokens and mail go through the proxy http://p.corp:3128 (egress)\n",
        ),
        (with("egress = 'none'"), &[("ALL_PROXY", "w:1")], ""),
        (
            with(""),
            &[("all_proxy", "socks5://u:hunter2@s")],
            "provider p: tokens and mail go through the proxy socks5://s:1080 ($all_proxy)\n",
        ),
        (
            with(""),
            &[("HTTPS_PROXY", "http://u:hunter2@w:1")],
            "provider p: tokens go through the proxy http://w:1 ($HTTPS_PROXY), mail goes directly\n",
        ),
        (
            with(""),
            &[("ALL_PROXY", "w:1"), ("NO_PROXY", "office365.com")],
            "provider p: tokens go through the proxy http://w:1 ($ALL_PROXY), mail goes directly\n",
        ),
        (
            with(""),
            &[("ALL_PROXY", "w:1"), ("NO_PROXY", "smtp.office365.com")],
            "provider p: tokens go through the proxy http://w:1 ($ALL_PROXY), outlook.office365.com goes through the proxy http://w:1 ($ALL_PROXY), smtp.office365.com goes directly\n",
        ),
        // A proxy that nobody is sent through is nobody's trouble.
        (
            with("egress = 'none'"),
            &[("ALL_PROXY", "socks4://w:1")],
            "",
        ),
    ] {
        let output = checked_with(&text, variables);
        let out = String::from_utf8(output.stdout.clone()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(out.starts_with(said), "{out}");
        assert_eq!(out.contains("provider p"), !said.is_empty(), "{out}");
        assert!(!format!("{out}{}", stderr(&output)).contains("hunter2"));
    }
}

#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_a_problem() {
    let output = checked_with(GOOD, &[("HTTPS_PROXY", "https://u:hunter2@w:1")]);
    let out = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{out}");
    assert!(
        out.contains("$HTTPS_PROXY cannot be used") && out.contains("egress = \"none\""),
        "{out}"
    );
    assert!(!out.contains("hunter2"), "{out}");
}

/// A listener with TLS, beside what a configuration needs.
fn listening(more: &str) -> String {
    format!(
        "state-dir = 'state'\n[provider.good]\nclient-id = 'x'\nissuer = 'https://x'\nimap = {{ host = 'x' }}\n\
         [[listener]]\nprotocol = 'imap'\nprovider = 'good'\nlisten = '127.0.0.1:9'\ntls = 'auto'\n{more}"
    )
}

/// What `check` warns of.
fn warned(place: &Place) -> String {
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn a_certificate_that_ends_or_is_no_pair_with_its_key_is_warned_of() {
    let place = Place::with(&listening(
        "certificate = { file = 'own.pem', key = { file = 'own.key' } }",
    ));
    assert!(warned(&place).contains("cannot read"), "{}", warned(&place));
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    let put = |name: &str, text: String| fs::write(place.folder.path().join(name), text).unwrap();
    put("own.pem", params.self_signed(&key).unwrap().pem());
    put("own.key", key.serialize_pem());
    let words = warned(&place);
    assert!(words.contains("ended on 2020-02-03; renew it"), "{words}");
    #[cfg(unix)]
    assert!(
        words.contains("holds a private key") && words.contains("chmod 600"),
        "{words}"
    );
    put(
        "own.key",
        rcgen::KeyPair::generate().unwrap().serialize_pem(),
    );
    let words = warned(&place);
    assert!(words.contains("cannot be used together"), "{words}");
    let console = "[console]\nlisten = '0.0.0.0:8047'\nallow-from = '10.0.0.1'\n\
                   certificate = { file = 'absent.pem', key = { file = 'absent.key' } }";
    let place = Place::with(&listening(console));
    let words = warned(&place);
    assert!(words.contains("absent.pem"), "{words}");
}

#[test]
fn a_name_that_the_local_ca_cannot_vouch_for_is_warned_of_until_it_is_rotated() {
    let place = Place::with(&listening(""));
    assert!(!warned(&place).contains("ca rotate"));
    let first = place.run(&["ca", "export"]);
    assert!(first.stdout.starts_with(b"-----BEGIN CERTIFICATE-----"));
    fs::write(
        &place.path,
        listening("[ca]\nnames = ['mail.office.lan', 'mail.example.com']"),
    )
    .unwrap();
    let words = warned(&place);
    assert!(
        words.contains("mail.example.com") && words.contains("ca rotate"),
        "{words}"
    );
    assert!(!words.contains("mail.office.lan"), "{words}");
    assert_eq!(
        place.run(&["ca", "export"]).stdout,
        first.stdout,
        "nothing else makes a new one"
    );
    let rotated = place.run(&["ca", "rotate"]);
    assert_eq!(rotated.status.code(), Some(0), "{}", stderr(&rotated));
    assert_ne!(place.run(&["ca", "export"]).stdout, first.stdout);
    assert!(!warned(&place).contains("ca rotate"));
}

#[test]
fn whom_a_listener_is_made_for_and_turns_away_is_warned_of() {
    let smtp = |more: &str| {
        let text = listening(more)
            .replace("tls = 'auto'\n", "")
            .replace("imap", "smtp");
        text + "\n[[account]]\naddress = 'a@x'\nprovider = 'good'\n"
    };
    let devices = "without-login = { account = 'a@x', from = ['192.168.1.20'] }\n";
    let place = Place::with(&smtp(devices));
    let words = warned(&place);
    assert!(
        words.contains("192.168.1.20/32: add it to allow-plaintext-from"),
        "{words}"
    );
    let allowed = format!("{devices}allow-plaintext-from = '192.168.1.0/24'");
    let words = warned(&Place::with(&smtp(&allowed)));
    assert!(!words.contains("allow-plaintext-from"), "{words}");
    let words = warned(&Place::with(&smtp("proxy-protocol-from = '10.0.0.5'")));
    assert!(words.contains("what its proxy passes on"), "{words}");
}

#[test]
fn a_proxy_that_may_send_without_a_login_is_warned_of() {
    let smtp = |from: &str| {
        let more = format!(
            "without-login = {{ account = 'a@x', from = ['{from}'] }}\n\
             allow-plaintext-from = '192.168.1.0/24'\nproxy-protocol-from = ['192.168.1.5']\n"
        );
        let text = listening(&more)
            .replace("tls = 'auto'\n", "")
            .replace("imap", "smtp");
        warned(&Place::with(
            &(text + "\n[[account]]\naddress = 'a@x'\nprovider = 'good'\n"),
        ))
    };
    for from in ["192.168.1.5", "192.168.1.0/28"] {
        let words = smtp(from);
        assert!(
            words.contains("whomever the proxy does not name"),
            "{words}"
        );
    }
    let words = smtp("192.168.1.20");
    assert!(!words.contains("whomever"), "{words}");
}

#[test]
fn a_list_that_lets_everybody_speak_in_clear_is_warned_of() {
    let place = Place::with(&listening(
        "allow-plaintext-from = ['10.0.0.0/8', '0.0.0.0/0']",
    ));
    assert!(warned(&place).contains("lets everybody send passwords"));
}
