//! The ways to a token beside the browser: a certificate, another device, a service account, a password; each to a login.

use std::fs;
use std::io::Write as _;
use std::process::ChildStdin;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use serde_json::json;

use crate::lab::{PROTOCOLS, lab};
use crate::wicket::{PASSWORD, Plan, Wicket, is_success};

/// Of every mailbox, at the lab's provider.
const MAILBOX_PASSWORD: &str = "mailbox-pass-3";

/// A self-signed certificate and its key, in PEM.
fn certificate() -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let params = CertificateParams::new(vec!["app.example.test".into()]).expect("names");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// A client of the lab that proves itself with a new certificate, for the one mailbox that daemons may open.
fn with_certificate(client_id: &str) -> (Wicket, String) {
    let account = lab().mailbox("alice");
    let (certificate, key) = certificate();
    let order = json!({"client_id": client_id, "certificate": certificate});
    lab().control("certificate-client", &order);
    let keys = format!(
        "client-id = \"{client_id}\"\nflow = \"client-credentials\"\nscopes = [\"mail\"]\n\
         certificate = {{ file = \"app.pem\", key = {{ file = \"app.key\" }} }}\n"
    );
    let wicket = Plan::new().provider(&keys).account(&account).lay_out();
    write(&wicket, "app.pem", &certificate);
    write(&wicket, "app.key", &key);
    (wicket, account)
}

/// A file beside the configuration, for its owner alone.
fn write(wicket: &Wicket, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = wicket.folder().join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its owner's");
}

#[test]
fn a_certificate_in_place_of_a_secret_opens_the_mailbox() {
    let (mut wicket, account) = with_certificate("by-certificate");
    wicket.start();
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, &account);
    }
}

#[test]
fn check_and_doctor_say_that_key_and_certificate_are_not_a_pair() {
    let (wicket, account) = with_certificate("not-a-pair");
    write(&wicket, "app.key", &certificate().1);
    for words in [&["check"][..], &["doctor", &account]] {
        let output = wicket.command(words);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("do not belong together"), "{words:?}: {said}");
    }
}

#[test]
fn a_person_signs_in_on_another_device() {
    let account = &lab().mailbox("device");
    let issuer = lab().fact("issuer");
    let keys = format!(
        "client-id = \"native-public\"\nflow = \"device-code\"\ndevice-url = \"{issuer}/device/auth\"\n"
    );
    let mut wicket = Plan::new().provider(&keys).account(account).lay_out();
    wicket.authorize_on_device(account, |code| {
        lab().control("device", &json!({"user_code": code, "account": account}));
    });
    wicket.start();
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
    lab().control("kill-access-tokens", &json!({"account": account}));
    wicket.logs_in("imap", account);
    assert_eq!(lab().token_requests("refresh_token", account), 1);
}

#[test]
fn somebody_else_on_the_other_device_is_told_from_the_right_person() {
    let account = &lab().mailbox("device-owner");
    let issuer = lab().fact("issuer");
    let keys = format!("client-id = \"native-public\"\ndevice-url = \"{issuer}/device/auth\"\n");
    let wicket = Plan::new().provider(&keys).account(account).lay_out();
    let stranger = lab().mailbox("stranger");
    let said = wicket.refused_on_device(account, |code| {
        lab().control("device", &json!({"user_code": code, "account": stranger}));
    });
    assert!(said.contains(&format!("{stranger} signed in")), "{said}");
    let said = wicket.refused_on_device(account, |code| {
        lab().control("device", &json!({"user_code": code, "deny": true}));
    });
    assert!(said.contains("access_denied"), "{said}");
}

/// A service account of the lab, for the mailboxes of `plan`; its accesses live as the lab says.
pub fn with_service_account(name: &str, plan: Plan) -> Wicket {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let order = json!({"public_key": key.public_key_pem(), "kid": name});
    lab().control("service-key", &order);
    let file = json!({
        "type": "service_account",
        "client_email": "mail@lab.iam.gserviceaccount.com",
        "private_key": key.serialize_pem(),
        "private_key_id": name,
    });
    let keys = "flow = \"service-account\"\nservice-account = { file = \"key.json\" }\n\
                scopes = [\"mail\"]\n";
    let plan = plan
        .provider(keys)
        .with("[limits]\nbefore-login-per-source = 256\n");
    let wicket = plan.lay_out();
    write(&wicket, "key.json", &file.to_string());
    wicket
}

pub fn assertions(account: &str) -> u64 {
    lab().token_requests("urn:ietf:params:oauth:grant-type:jwt-bearer", account)
}

#[test]
fn a_service_account_opens_each_mailbox_that_it_is_told() {
    let accounts = ["served-1", "served-2"].map(|name| lab().mailbox(name));
    let plan = Plan::new().account(&accounts[0]).account(&accounts[1]);
    let mut wicket = with_service_account("service-1", plan);
    wicket.start();
    for account in &accounts {
        for protocol in PROTOCOLS {
            wicket.logs_in(protocol, account);
        }
        assert_eq!(assertions(account), 1);
    }
}

#[test]
fn two_hundred_logins_on_an_expired_token_of_a_service_account_cost_one_request() {
    let account = &lab().mailbox("served-often");
    let mut wicket = with_service_account("service-2", Plan::new().account(account));
    lab().access_tokens_live(account, 1);
    assert!(wicket.command(&["authorize", account]).status.success());
    lab().wait_for_expiry(account);
    wicket.wait_for_expiry(account);
    lab().access_tokens_live(account, 3600);
    wicket.start();
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| wicket.logs_in("imap", account));
        }
    });
    assert_eq!(assertions(account), 2, "one before, one for all");
}

#[test]
fn a_password_is_exchanged_once_and_kept_nowhere() {
    let account = &lab().mailbox("legacy");
    let keys = "client-id = \"legacy\"\nflow = \"password\"\nallow-password-grant = true\n";
    let mut wicket = Plan::new().provider(keys).account(account).lay_out();
    let give = |password: &'static str| {
        move |mut input: ChildStdin| writeln!(input, "{password}").expect("it reads")
    };
    let (done, said) = wicket.command_with_input(&["authorize", account], give("wrong"));
    assert!(
        !done && said.contains("user name or password is wrong"),
        "{said}"
    );
    let (done, said) = wicket.command_with_input(&["authorize", account], give(MAILBOX_PASSWORD));
    assert!(done, "{said}");
    wicket.start();
    lab().control("kill-access-tokens", &json!({"account": account}));
    wicket.logs_in("imap", account);
    assert_eq!(lab().token_requests("refresh_token", account), 1);
    let answer = wicket.login("imap", account, MAILBOX_PASSWORD);
    assert!(!is_success(&answer), "{answer}");
    assert_ne!(PASSWORD, MAILBOX_PASSWORD);
    assert!(!wicket.has_on_disk(MAILBOX_PASSWORD.as_bytes()));
}
