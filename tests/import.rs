//! `mailwicket import emailproxy`: what comes out is a configuration that passes the check, and nothing is lost in silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn mailwicket(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mailwicket"))
        .args(words)
        .args(["--color", "never"])
        .output()
        .expect("mailwicket")
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A fixture with the files that it names.
fn laid_out(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/import")
        .join(name);
    let text = fs::read_to_string(fixture).expect("a fixture");
    let place = folder.path().to_str().expect("UTF-8");
    let file = folder.path().join("emailproxy.config");
    fs::write(&file, text.replace("FOLDER", place)).expect("written");
    if text.contains("FOLDER") {
        certificate(folder.path(), "local");
        certificate(folder.path(), "app");
        let key = fs::read_to_string(folder.path().join("app.key")).expect("a key");
        let json = serde_json::json!({
            "type": "service_account", "client_email": "bot@project.iam.gserviceaccount.com",
            "private_key": key, "private_key_id": "1",
        });
        private(
            &folder.path().join("service-account.json"),
            &json.to_string(),
        );
    }
    (folder, file)
}

/// `NAME.pem` and `NAME.key`.
fn certificate(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost", "-out"])
        .arg(folder.join(format!("{name}.pem")))
        .arg("-keyout")
        .arg(folder.join(format!("{name}.key")))
        .output()
        .expect("openssl is missing: run tests/lab/install");
    assert!(made.status.success(), "{}", words(&made));
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
}

/// The report of an import into a file beside the source, and that file.
fn imported(file: &Path) -> (String, PathBuf) {
    let new = file.with_file_name("mailwicket.toml");
    let output = mailwicket(&[
        "import",
        "emailproxy",
        file.to_str().expect("UTF-8"),
        "--out",
        new.to_str().expect("UTF-8"),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(output.stdout.is_empty());
    (words(&output), new)
}

/// The problems that `check` finds.
fn problems(config: &Path) -> Vec<String> {
    let checked = mailwicket(&[
        "check",
        "--state-dir",
        "state",
        "--config",
        config.to_str().expect("UTF-8"),
    ]);
    let words = words(&checked);
    let problems = words.lines().filter(|line| line.starts_with("error"));
    problems.map(str::to_owned).collect()
}

#[test]
fn every_fixture_becomes_a_configuration_that_passes_the_check() {
    for name in ["documented", "personal", "unattended", "catch-all"] {
        let (_folder, file) = laid_out(&format!("{name}.config"));
        let (report, new) = imported(&file);
        assert!(report.contains("passes the check"), "{name}\n{report}");
        assert_eq!(
            problems(&new),
            Vec::<String>::new(),
            "{name}\n{report}\n{}",
            fs::read_to_string(&new).expect("it")
        );
    }
}

#[test]
fn the_documented_shape_passes_as_it_is() {
    let (_folder, file) = laid_out("documented.config");
    let (report, new) = imported(&file);
    assert!(report.contains("passes the check"), "{report}");
    let table: toml::Table = fs::read_to_string(new).expect("it").parse().expect("TOML");
    let providers = table["provider"].as_table().expect("providers");
    assert_eq!(
        providers.keys().collect::<Vec<_>>(),
        ["google", "microsoft", "yahoo"]
    );
    assert_eq!(
        providers["google"]["client-secret"].as_str(),
        Some("GOCSPX-fixture%secret")
    );
    assert_eq!(table["listener"].as_array().map(Vec::len), Some(7));
    assert_eq!(table["account"].as_array().map(Vec::len), Some(4));
    assert!(!table.contains_key("vault"));
    let line = |number: usize, words: &str| {
        let start = format!("{}:{number}: ", file.display());
        let found = report
            .lines()
            .any(|line| line.starts_with(&start) && line.contains(words));
        assert!(found, "line {number}: {words}\n{report}");
    };
    line(
        10,
        "[IMAP-1993] -> [[listener]] imap at 127.0.0.1:1993 and [::1]:1993 for provider \"microsoft\"",
    );
    line(43, "TO DO: its tokens are sealed");
    line(43, "mailwicket authorize work@contoso.example");
    line(43, "mailwicket password add work@contoso.example");
    line(
        45,
        "preset = \"microsoft\", tenant = \"contoso.onmicrosoft.com\"",
    );
    for secret in ["GOCSPX", "sealed-", "yahoo-fixture"] {
        assert!(!report.contains(secret), "{report}");
    }
}

#[test]
fn personal_and_work_mailboxes_get_their_own_servers() {
    let (_folder, file) = laid_out("personal.config");
    let (report, new) = imported(&file);
    let text = fs::read_to_string(new).expect("it");
    let table: toml::Table = text.parse().expect("TOML");
    let personal = &table["provider"]["microsoft-personal"];
    assert_eq!(personal["preset"].as_str(), Some("microsoft-personal"));
    assert!(personal.get("smtp").is_none(), "the preset has it");
    let work = &table["provider"]["microsoft-device"];
    assert_eq!(work["flow"].as_str(), Some("device-code"));
    assert!(work.get("smtp").is_none(), "the preset has it");
    for words in [
        "redirect_uri: TO DO",
        "local_address: TO DO",
        "surprise: TO DO",
        "[Notes]: TO DO",
        "anything: TO DO",
        "[SMTP-1588]: TO DO: no local_address, so only this machine is served",
        "[SMTP-1589]: TO DO",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    assert!(!report.contains("[IMAP-1993]: TO DO: no local_address"));
    assert!(!report.contains("s3cret"), "{report}");
    assert!(!text.contains("s3cret"));
}

#[test]
fn applications_keep_their_flows_certificates_and_keys() {
    let (folder, file) = laid_out("unattended.config");
    let (report, new) = imported(&file);
    let table: toml::Table = fs::read_to_string(new).expect("it").parse().expect("TOML");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let flows = [
        "microsoft-app",
        "microsoft-app-2",
        "microsoft-app-3",
        "google-service",
    ];
    for name in flows {
        assert!(table["provider"].get(name).is_some(), "{name}\n{report}");
    }
    let provider = |name: &str| &table["provider"][name];
    assert_eq!(
        provider("microsoft-app")["client-secret"].as_str(),
        Some("s3cret-app")
    );
    assert_eq!(
        provider("microsoft-app-2")["client-secret"]["file"].as_str(),
        Some("microsoft-app-2.secret")
    );
    assert_eq!(
        provider("microsoft-app-3")["certificate"]["file"].as_str(),
        Some(path("app.pem").as_str())
    );
    assert_eq!(
        provider("google-service")["service-account"]["file"].as_str(),
        Some(path("service-account.json").as_str())
    );
    let accounts = table["account"].as_array().expect("accounts");
    let domain = accounts
        .iter()
        .find(|account| account["address"].as_str() == Some("*@fleet.example"));
    let domain = domain.expect("the whole domain");
    assert_eq!(domain["provider"].as_str(), Some("microsoft-app"));
    let text = fs::read_to_string(folder.path().join("mailwicket.toml")).expect("it");
    assert!(
        text.contains("# [provider.microsoft-china-password]"),
        "{text}"
    );
    assert!(text.contains("# allow-password-grant = true"), "{text}");
    assert_eq!(table["listener"][0]["tls"].as_str(), Some("implicit"));
    assert_eq!(
        table["listener"][0]["listen"][0].as_str(),
        Some("192.0.2.7:1993")
    );
    for words in [
        "oauth2_resource: TO DO",
        "oauth2_flow: TO DO",
        "client_secret_encrypted: TO DO",
        "login_hint: TO DO",
        "[ropc@china.example]: TO DO: [provider.microsoft-china-password]: a password signs in in one tenant",
        "[IMAP-4993]: TO DO",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
}

#[test]
fn nothing_is_overwritten_and_the_new_file_is_for_its_owner() {
    let (_folder, file) = laid_out("catch-all.config");
    let (_, new) = imported(&file);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&new).expect("it").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::write(&new, "mine").expect("written");
    let (file, to) = (file.to_str().expect("UTF-8"), new.to_str().expect("UTF-8"));
    let again = mailwicket(&["import", "emailproxy", file, "--out", to]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&new).expect("it"), "mine");
}

#[test]
fn without_out_the_file_goes_to_standard_output_alone() {
    let (_folder, file) = laid_out("catch-all.config");
    let output = mailwicket(&["import", "emailproxy", file.to_str().expect("UTF-8")]);
    assert!(output.status.success());
    let table: toml::Table = String::from_utf8(output.stdout)
        .expect("text")
        .parse()
        .expect("TOML");
    assert_eq!(
        table["account"][0]["address"].as_str(),
        Some("grace@example.com")
    );
}

#[test]
fn what_cannot_be_read_is_said() {
    let missing = mailwicket(&["import", "emailproxy", "/nowhere/emailproxy.config"]);
    assert_eq!(missing.status.code(), Some(2));
    let (folder, _) = laid_out("catch-all.config");
    let other = folder.path().join("other");
    fs::write(&other, "[provider.x]\n").expect("written");
    let unfit = mailwicket(&["import", "emailproxy", other.to_str().expect("UTF-8")]);
    assert_eq!(unfit.status.code(), Some(2));
    assert!(words(&unfit).contains("no configuration of email-oauth2-proxy"));
}
