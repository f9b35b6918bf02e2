//! `mailwicket setup`, answered through standard input as a person would.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const CLIENT: &str = "11111111-2222-3333-4444-555555555555";

struct Bench {
    folder: tempfile::TempDir,
}

/// A child that does not outlive a test that fails.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("conf").join("mailwicket.toml")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwicket"));
        command
            .args(words)
            .args(["--color", "never", "--config"])
            .arg(self.config());
        command
            .arg("--state-dir")
            .arg(self.folder.path().join("state"));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A command with these lines as its input, to its end.
    fn run(&self, words: &[&str], lines: &[&str]) -> Output {
        let mut child = self.command(words).spawn().expect("mailwicket");
        let mut input = child.stdin.take().expect("piped");
        // It may end before it has read everything.
        let _ = input.write_all((lines.join("\n") + "\n").as_bytes());
        drop(input);
        child.wait_with_output().expect("it ends")
    }

    fn setup(&self, lines: &[&str]) -> Output {
        self.run(&["setup"], lines)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.config()).expect("a configuration")
    }

    fn table(&self) -> toml::Table {
        self.text().parse().expect("TOML")
    }

    fn passes_the_check(&self) {
        let checked = self.run(&["check"], &[]);
        let words = words(&checked);
        assert!(checked.status.success(), "{}\n{words}", self.text());
        assert!(!words.contains("warning"), "{words}");
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_mailbox_of_an_organisation_needs_few_answers() {
    let bench = Bench::new();
    let answers = [
        "alice@contoso.com",
        "microsoft",
        "browser",
        "contoso.onmicrosoft.com",
        CLIENT,
        "",
        "",
        "",
        "2587",
        "",
        "",
        "yes",
        "no",
    ];
    let output = bench.setup(&answers);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(output.stdout.is_empty());
    bench.passes_the_check();
    let table = bench.table();
    let provider = &table["provider"]["microsoft"];
    assert_eq!(provider["preset"].as_str(), Some("microsoft"));
    assert_eq!(provider["tenant"].as_str(), Some("contoso.onmicrosoft.com"));
    assert!(provider.get("client-secret").is_none());
    let listen: Vec<_> = table["listener"]
        .as_array()
        .expect("two")
        .iter()
        .map(|listener| listener["listen"][0].as_str().expect("an address"))
        .collect();
    assert_eq!(listen, ["127.0.0.1:1143", "127.0.0.1:2587"]);
    assert_eq!(
        table["account"][0]["address"].as_str(),
        Some("alice@contoso.com")
    );
    assert!(bench.text().matches("\n# ").count() >= 4, "with comments");
    let words = words(&output);
    for next in [
        "password add alice@contoso.com",
        "authorize alice@contoso.com",
        "doctor alice@contoso.com",
    ] {
        assert!(words.contains(next), "{words}");
    }
    #[cfg(unix)]
    assert_eq!(mode(&bench.config()), 0o644, "no secret is in it");
}

#[test]
fn a_secret_goes_into_a_file_of_its_own_and_is_never_shown() {
    let bench = Bench::new();
    // Google is suggested for the address.
    let answers = [
        "carol@gmail.com",
        "",
        "",
        "1-abc.apps.googleusercontent.com",
        "s3cret-google",
        "imap",
        "",
        "",
        "",
        "yes",
        "yes",
        "no",
    ];
    let output = bench.setup(&answers);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    bench.passes_the_check();
    let provider = &bench.table()["provider"]["google"];
    assert_eq!(
        provider["client-secret"]["file"].as_str(),
        Some("google.secret")
    );
    let secret = bench.config().with_file_name("google.secret");
    assert_eq!(
        fs::read_to_string(&secret).expect("a secret"),
        "s3cret-google"
    );
    assert!(!bench.text().contains("s3cret") && !words(&output).contains("s3cret"));
    #[cfg(unix)]
    assert_eq!((mode(&secret), mode(&bench.config())), (0o600, 0o644));
}

#[test]
fn a_secret_in_the_file_closes_it_to_others() {
    let bench = Bench::new();
    let answers = [
        "alarms@contoso.com",
        "microsoft",
        "secret",
        "contoso.onmicrosoft.com",
        CLIENT,
        "s3cret-app",
        "smtp",
        "",
        "",
        "",
        "yes",
        "no",
        "no",
    ];
    let output = bench.setup(&answers);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    bench.passes_the_check();
    let provider = &bench.table()["provider"]["microsoft"];
    assert_eq!(provider["flow"].as_str(), Some("client-credentials"));
    assert_eq!(provider["client-secret"].as_str(), Some("s3cret-app"));
    assert!(!words(&output).contains("s3cret"));
    #[cfg(unix)]
    assert_eq!(mode(&bench.config()), 0o600);
}

#[test]
fn what_does_not_pass_the_check_is_asked_again() {
    let bench = Bench::new();
    let first = [
        "erin@outlook.com",
        "",
        "",
        "your-client-id",
        "imap",
        "",
        "",
        "",
    ];
    let second = ["", "", "", CLIENT, "imap smtp", "", "", "", "", "yes", "no"];
    let output = bench.setup(&[&first[..], &second].concat());
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(
        words(&output).contains("this client id is a sample"),
        "{}",
        words(&output)
    );
    bench.passes_the_check();
    let table = bench.table();
    assert_eq!(
        table["account"][0]["address"].as_str(),
        Some("erin@outlook.com")
    );
    assert_eq!(
        table["provider"]["microsoft-personal"]["preset"].as_str(),
        Some("microsoft-personal")
    );
}

#[test]
fn nothing_is_overwritten_and_no_answer_is_no_file() {
    let bench = Bench::new();
    let output = bench.setup(&["alice@contoso.com", "microsoft"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("answers ended"));
    assert!(!bench.config().exists());
    fs::create_dir_all(bench.config().parent().expect("a folder")).expect("made");
    fs::write(bench.config(), "# mine\n").expect("written");
    let other = bench.config().with_file_name("other.toml");
    let answers = [
        "carol@gmail.com",
        "",
        "",
        "1-abc",
        "",
        "imap",
        "",
        "",
        "",
        other.to_str().expect("UTF-8"),
        "yes",
        "no",
    ];
    let output = bench.setup(&answers);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert_eq!(bench.text(), "# mine\n");
    assert!(other.exists());
}

#[test]
fn mail_programs_on_other_machines_get_tls() {
    let bench = Bench::new();
    let answers = [
        "alice@contoso.com",
        "microsoft",
        "device",
        "contoso.onmicrosoft.com",
        CLIENT,
        "",
        "imap",
        "",
        "others",
        "",
        "yes",
        "no",
    ];
    let output = bench.setup(&answers);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    bench.passes_the_check();
    let table = bench.table();
    let listener = &table["listener"][0];
    assert_eq!(listener["tls"].as_str(), Some("auto"));
    assert_eq!(listener["listen"][0].as_str(), Some("0.0.0.0:1143"));
    assert_eq!(listener["listen"][1].as_str(), Some("[::]:1143"));
    let provider = &table["provider"]["microsoft"];
    assert_eq!(provider["flow"].as_str(), Some("device-code"));
    assert!(words(&output).contains("ca export"), "{}", words(&output));
}

#[test]
fn who_takes_no_tokens_or_has_no_registration_is_told_before_the_questions() {
    let bench = Bench::new();
    let output = bench.setup(&["alice@gmx.de", "bob@yahoo.com", "", "no"]);
    let words = words(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("GMX, WEB.DE and 1&1 take no tokens"),
        "{words}"
    );
    assert!(words.contains("application form"), "{words}");
    assert!(!words.contains("Client id"), "{words}");
    assert!(!bench.config().exists());
}

#[test]
fn applications_prove_themselves_with_files() {
    let bench = Bench::new();
    let certificate = [
        "alarms@contoso.com",
        "microsoft",
        "certificate",
        "contoso.onmicrosoft.com",
        CLIENT,
        "app.pem",
        "app.key",
        "smtp",
        "",
        "",
        "",
        "yes",
        "no",
    ];
    let output = bench.setup(&certificate);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let provider = &bench.table()["provider"]["microsoft"];
    assert_eq!(provider["flow"].as_str(), Some("client-credentials"));
    assert_eq!(provider["certificate"]["file"].as_str(), Some("app.pem"));
    assert_eq!(
        provider["certificate"]["key"]["file"].as_str(),
        Some("app.key")
    );
    assert!(bench.run(&["check"], &[]).status.success());
    let bench = Bench::new();
    let service = [
        "carol@workspace.example",
        "google",
        "service-account",
        "workspace.json",
        "imap",
        "",
        "",
        "",
        "yes",
        "no",
    ];
    let output = bench.setup(&service);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let provider = &bench.table()["provider"]["google"];
    assert_eq!(provider["flow"].as_str(), Some("service-account"));
    assert_eq!(
        provider["service-account"]["file"].as_str(),
        Some("workspace.json")
    );
    assert!(provider.get("client-id").is_none());
    assert!(bench.run(&["check"], &[]).status.success());
}

/// Answers up to the registration, then those after it.
fn at_microsoft<'a>(way: &'a str, registration: &[&'a str]) -> Vec<&'a str> {
    let first = ["alarms@contoso.com", "microsoft", way];
    let last = ["smtp", "", "", "", "yes", "no"];
    [&first[..], registration, &last].concat()
}

#[test]
fn a_machine_in_azure_is_known_by_its_own_identity() {
    for (id, written) in [("", None), (CLIENT, Some(CLIENT))] {
        let bench = Bench::new();
        let output = bench.setup(&at_microsoft("managed-identity", &[id]));
        let words = words(&output);
        assert_eq!(output.status.code(), Some(0), "{words}");
        assert!(words.contains("Azure portal"), "{words}");
        assert!(!words.contains("Tenant:"), "{words}");
        bench.passes_the_check();
        let provider = &bench.table()["provider"]["microsoft"];
        assert_eq!(provider["flow"].as_str(), Some("managed-identity"));
        let client = provider.get("client-id");
        assert_eq!(client.and_then(toml::Value::as_str), written);
    }
}

#[test]
fn a_token_of_the_platform_stands_for_the_secret() {
    let tenant = "contoso.onmicrosoft.com";
    let bench = Bench::new();
    let by_file = [tenant, CLIENT, "", "platform/token"];
    let output = bench.setup(&at_microsoft("federation", &by_file));
    let words = words(&output);
    assert_eq!(output.status.code(), Some(0), "{words}");
    assert!(words.contains("Federated credentials"), "{words}");
    let token = bench.config().with_file_name("platform");
    fs::create_dir(&token).expect("a folder");
    fs::write(token.join("token"), "e30.e30.x").expect("a token");
    bench.passes_the_check();
    let provider = &bench.table()["provider"]["microsoft"];
    assert_eq!(provider["flow"].as_str(), Some("client-credentials"));
    assert_eq!(
        provider["assertion"]["file"].as_str(),
        Some("platform/token")
    );
    assert!(provider.get("client-secret").is_none());
    let bench = Bench::new();
    let by_command = [tenant, CLIENT, "neither", "command", "fetch-token  --for x"];
    let output = bench.setup(&at_microsoft("federation", &by_command));
    assert_eq!(output.status.code(), Some(0), "{}", self::words(&output));
    assert!(bench.run(&["check"], &[]).status.success());
    let command = bench.table()["provider"]["microsoft"]["assertion"]["command"].clone();
    let expected = ["fetch-token", "--for", "x"].map(toml::Value::from);
    assert_eq!(command, toml::Value::from(expected.to_vec()));
}

#[test]
fn the_password_grant_is_only_for_who_says_so() {
    let bench = Bench::new();
    // Enter means no, and asks for another way.
    let registration = ["", "password", "yes", "contoso.onmicrosoft.com", CLIENT, ""];
    let output = bench.setup(&at_microsoft("password", &registration));
    let told = words(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(told.matches("a second factor (MFA)").count(), 2, "{told}");
    assert!(told.contains("federated users"), "{told}");
    assert!(told.contains("Another way, then."), "{told}");
    let checked = bench.run(&["check"], &[]);
    assert!(checked.status.success(), "{}", words(&checked));
    let provider = &bench.table()["provider"]["microsoft"];
    assert_eq!(provider["flow"].as_str(), Some("password"));
    assert_eq!(provider["allow-password-grant"].as_bool(), Some(true));
    let bench = Bench::new();
    let output = bench.setup(&["alice@contoso.com", "microsoft", "password", "no", "device"]);
    assert!(!words(&output).contains("allow-password-grant"));
    assert!(!bench.config().exists());
}

#[test]
fn a_region_is_guessed_and_only_what_the_provider_serves_is_offered() {
    let bench = Bench::new();
    // Zoho has one way to sign in, and no server that takes tokens for sending.
    let answers = [
        "dave@zohomail.eu",
        "",
        "",
        "1000.ABC",
        "s3cret-zoho",
        "smtp",
        "imap",
        "",
        "",
        "",
        "yes",
        "yes",
        "no",
    ];
    let output = bench.setup(&answers);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    bench.passes_the_check();
    let provider = &bench.table()["provider"]["zoho"];
    assert_eq!(provider["region"].as_str(), Some("eu"));
}

#[test]
fn it_goes_on_to_the_password_and_the_sign_in() {
    let bench = Bench::new();
    let answers = [
        "dave@example.com",
        "other",
        "",
        "",
        "http://127.0.0.1:9/authorize",
        "http://127.0.0.1:9/token",
        "openid email mail",
        "app",
        "",
        "imap",
        "localhost",
        "",
        "",
        "",
        "yes",
        "yes",
    ];
    let mut child = Guarded(bench.command(&["setup"]).spawn().expect("mailwicket"));
    let mut input = child.0.stdin.take().expect("piped");
    input
        .write_all((answers.join("\n") + "\n").as_bytes())
        .expect("it reads");
    let mut lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    let password = lines.next().expect("a line").expect("text");
    assert!(
        password.len() >= 12 && !password.contains(' '),
        "{password}"
    );
    let url = lines.next().expect("a line").expect("text");
    assert!(url.starts_with("http://127.0.0.1:9/authorize?"), "{url}");
    assert!(url.contains("login_hint=dave%40example.com"), "{url}");
    drop(child);
    bench.passes_the_check();
}
