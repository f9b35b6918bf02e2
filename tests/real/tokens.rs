//! The life of tokens, seen from outside: consent while the daemon runs, expiry, outages, revocation, sudden death.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::lab::{PROTOCOLS, lab};
use crate::wait::eventually;
use crate::wicket::{PASSWORD, Plan, Wicket, is_success, is_temporary, is_wrong_password};

/// Longer than any test; shorter-lived tokens are asked for by name.
const AN_HOUR: u32 = 3600;

/// Authorised with an access token that is over by now, and not running yet.
fn laid_out_with_an_expired_token(account: &str) -> Wicket {
    let wicket = Plan::new()
        .account(account)
        .with("[limits]\nbefore-login-per-source = 256\n")
        .lay_out();
    lab().access_tokens_live(account, 1);
    wicket.authorize(account);
    lab().wait_for_expiry(account);
    wicket.wait_for_expiry(account);
    wicket
}

fn refreshes(account: &str) -> u64 {
    lab().token_requests("refresh_token", account)
}

#[test]
fn consent_given_while_the_daemon_runs_counts_at_the_next_login() {
    let account = &lab().mailbox("consent");
    let wicket = Plan::new().account(account).run_unauthorised();
    let before = wicket.login("imap", account, PASSWORD);
    assert!(is_temporary(&before), "{before}");
    wicket.authorize(account);
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
}

#[test]
fn a_daemon_logs_in_by_client_credentials_with_nobody_there() {
    // The lab lets this client open this one mailbox.
    let account = &lab().mailbox("alice");
    let keys = "client-id = \"daemon\"\nclient-secret = \"daemon-secret\"\nflow = \"client-credentials\"\n\
                scopes = [\"mail\"]\n";
    let wicket = Plan::new()
        .provider(keys)
        .account(account)
        .run_unauthorised();
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
}

#[test]
fn a_client_with_a_secret_authorises_and_refreshes() {
    let account = &lab().mailbox("confidential");
    let keys = "client-id = \"confidential\"\nclient-secret = \"confidential-secret\"\n";
    let wicket = Plan::new().provider(keys).account(account).run();
    wicket.logs_in("imap", account);
    lab().control("kill-access-tokens", &json!({"account": account}));
    wicket.logs_in("imap", account);
    assert_eq!(refreshes(account), 1);
}

#[test]
fn a_hundred_logins_with_an_expired_token_cost_one_refresh() {
    let account = &lab().mailbox("hundred");
    let mut wicket = laid_out_with_an_expired_token(account);
    lab().access_tokens_live(account, AN_HOUR);
    wicket.start();
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| wicket.logs_in("imap", account));
        }
    });
    assert_eq!(refreshes(account), 1);
}

/// An account for each protocol, because a second refusal within a minute is taken for the provider's last word.
#[test]
fn a_token_the_server_refuses_is_renewed_once() {
    let accounts = PROTOCOLS.map(|protocol| lab().mailbox(&format!("refused-{protocol}")));
    let plan = accounts
        .iter()
        .fold(Plan::new(), |plan, account| plan.account(account));
    let wicket = plan.run();
    for (protocol, account) in PROTOCOLS.iter().zip(&accounts) {
        lab().control("kill-access-tokens", &json!({"account": account}));
        wicket.logs_in(protocol, account);
        assert_eq!(refreshes(account), 1, "{protocol}");
    }
}

#[test]
fn logins_with_a_refused_token_at_the_same_time_share_its_renewal() {
    let account = &lab().mailbox("shared");
    let wicket = Plan::new().account(account).run();
    lab().control("kill-access-tokens", &json!({"account": account}));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| wicket.logs_in("imap", account));
        }
    });
    assert_eq!(refreshes(account), 1);
}

#[test]
fn logins_go_on_without_the_token_endpoint_while_the_token_lives() {
    let account = &lab().mailbox("outage");
    let wicket = Plan::new().account(account).run();
    lab().token_endpoint_fails(account, 503);
    for protocol in PROTOCOLS {
        wicket.logs_in(protocol, account);
    }
}

#[test]
fn an_outage_as_long_as_the_token_lives_fails_no_login_before_its_end() {
    let account = &lab().mailbox("long-outage");
    let mut wicket = Plan::new().account(account).lay_out();
    lab().access_tokens_live(account, 60);
    wicket.authorize(account);
    // The lab counts whole seconds, and may be through with it one earlier.
    let ends = wicket.token_ends(account).expect("a token") - Duration::from_secs(1);
    lab().token_endpoint_fails(account, 503);
    wicket.start();
    // The upkeep has met the outage; the logins know nothing of it.
    let (mut logins, mut met) = (0, false);
    loop {
        let answer = wicket.login("imap", account, PASSWORD);
        if Timestamp::now() >= ends {
            break;
        }
        assert!(is_success(&answer), "{answer}");
        logins += u32::from(met);
        met |= wicket.state(account) == "retrying";
    }
    assert!(logins > 0, "the upkeep never met the outage");
    lab().wait_for_expiry(account);
    let answer = wicket.login("imap", account, PASSWORD);
    assert!(is_temporary(&answer), "{answer}");
}

/// The lab ends the whole family when a rotated token comes back, so each process has to see what the other was given.
#[test]
fn two_processes_on_one_vault_never_present_the_same_rotated_token_twice() {
    let account = &lab().mailbox("two-processes");
    let mut wicket = laid_out_with_an_expired_token(account);
    // Tokens that are over at once: the daemon renews all the time, and so does whoever finds one that is no good.
    lab().access_tokens_live(account, 2);
    wicket.start();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            // Until enough were renewed, however fast the machine is.
            scope.spawn(|| {
                eventually("many renewals", || {
                    wicket.command(&["doctor", account, "--json"]);
                    wicket.login("imap", account, PASSWORD);
                    (refreshes(account) > 6).then_some(())
                })
            });
        }
    });
    lab().access_tokens_live(account, AN_HOUR);
    eventually("a login with a token that lives", || {
        is_success(&wicket.login("imap", account, PASSWORD)).then_some(())
    });
    assert_eq!(wicket.state(account), "ok");
}

#[test]
fn an_outage_of_the_token_endpoint_heals_without_a_human() {
    let account = &lab().mailbox("healing");
    let mut wicket = laid_out_with_an_expired_token(account);
    lab().token_endpoint_fails(account, 503);
    wicket.start();
    for protocol in PROTOCOLS {
        let answer = wicket.login(protocol, account, PASSWORD);
        assert!(is_temporary(&answer), "{answer}");
    }
    lab().access_tokens_live(account, AN_HOUR);
    lab().heal(account);
    eventually("a login after the outage", || {
        is_success(&wicket.login("imap", account, PASSWORD)).then_some(())
    });
    assert_eq!(wicket.state(account), "ok");
}

#[test]
fn a_revoked_grant_is_a_temporary_failure_until_a_human_consents_again() {
    let account = &lab().mailbox("revoked");
    let wicket = Plan::new().account(account).run();
    lab().control("revoke-grant", &json!({"account": account}));
    for protocol in PROTOCOLS {
        let answer = wicket.login(protocol, account, PASSWORD);
        assert!(is_temporary(&answer), "{answer}");
    }
    assert_eq!(wicket.state(account), "needs-consent");
    wicket.authorize(account);
    wicket.logs_in("imap", account);
    assert_eq!(wicket.state(account), "ok");
}

/// The provider ends the whole family when an old refresh token comes back, so the second refresh works only if the
/// first one's result was on disk before anybody used it.
#[test]
fn a_rotated_refresh_token_survives_kill_9() {
    let account = &lab().mailbox("killed");
    let mut wicket = laid_out_with_an_expired_token(account);
    lab().access_tokens_live(account, AN_HOUR);
    for round in 1..=3 {
        wicket.start();
        wicket.logs_in("imap", account);
        wicket.kill_9();
        assert_eq!(refreshes(account), round);
        lab().control("kill-access-tokens", &json!({"account": account}));
    }
}

#[test]
fn wrong_passwords_reach_neither_the_mail_servers_nor_the_token_endpoint() {
    let account = &lab().mailbox("wrong");
    let gates: Vec<_> = lab()
        .ports("implicit")
        .into_iter()
        .map(|(protocol, port)| (protocol, Gate::before(port)))
        .collect();
    let ports = gates.iter().map(|(protocol, gate)| (*protocol, gate.port));
    let wicket = Plan::new().account(account).upstream(ports.collect()).run();
    for (protocol, gate) in &gates {
        // The right password first: mailwicket may look at the server's capabilities beforehand.
        wicket.logs_in(protocol, account);
        let before = (gate.visits(), refreshes(account));
        for (login, password) in [
            (account.as_str(), "wrong"),
            ("nobody@example.test", PASSWORD),
            (account.as_str(), "open-sesame-77"),
        ] {
            let answer = wicket.login(protocol, login, password);
            assert!(is_wrong_password(&answer), "{answer}");
        }
        assert_eq!((gate.visits(), refreshes(account)), before, "{protocol}");
    }
}

/// A door before a server that counts who goes through.
struct Gate {
    port: u16,
    visits: Arc<AtomicUsize>,
}

impl Gate {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a socket").port();
        let visits = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&visits);
        std::thread::spawn(move || {
            for visitor in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let inside = TcpStream::connect(("127.0.0.1", server)).expect("the server");
                pass(&visitor, &inside);
                pass(&inside, &visitor);
            }
        });
        Self { port, visits }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

/// Copies one direction in a thread of its own.
fn pass(from: &TcpStream, to: &TcpStream) {
    let mut from = from.try_clone().expect("a socket");
    let mut to = to.try_clone().expect("a socket");
    std::thread::spawn(move || {
        std::io::copy(&mut from.by_ref(), &mut to).ok();
        to.shutdown(std::net::Shutdown::Write).ok();
    });
}
