use std::collections::HashSet;

use url::Url;

use super::*;
use crate::config::MechanismChoice;

/// The texts of a preset that are URLs of endpoints.
fn endpoints(preset: &Preset) -> Vec<&'static str> {
    [
        Some(preset.authorize_url),
        Some(preset.token_url),
        preset.device_url,
        preset.revoke_url,
        preset.issuer,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn servers(preset: &Preset) -> Vec<Server> {
    [preset.imap, preset.pop3, preset.smtp]
        .into_iter()
        .flatten()
        .collect()
}

/// All scopes of a preset, list by list.
fn lists(preset: &Preset) -> Vec<&'static [&'static str]> {
    let lists = [
        Some(preset.scopes),
        preset.app_scopes,
        preset.service_scopes,
    ];
    lists.into_iter().flatten().collect()
}

#[test]
fn names_are_plain_and_there_is_one_of_each() {
    let mut names = HashSet::new();
    for preset in PRESETS {
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(preset.name.chars().all(plain) && names.insert(preset.name));
        assert_eq!(Preset::meant_by(preset.name), None, "{}", preset.name);
    }
    for (_, name) in OTHER_NAMES {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn every_endpoint_is_https_and_has_nothing_left_to_fill_in() {
    for preset in PRESETS {
        for text in endpoints(preset) {
            let filled = text
                .replace("{tenant}", preset.tenant(None))
                .replace("{region}", preset.region(None));
            let url = Url::parse(&filled).unwrap_or_else(|error| panic!("{filled}: {error}"));
            assert_eq!(url.scheme(), "https", "{filled}");
            assert!(!filled.contains(['{', '}', ' ']), "{filled}");
            assert_eq!(text.contains("{tenant}"), preset.is_microsoft(), "{text}");
            assert_eq!(
                text.contains("{region}"),
                !preset.regions.is_empty(),
                "{text}"
            );
        }
    }
}

/// A token or a code that goes to another organisation's host is a slip in the table.
#[test]
fn the_endpoints_of_a_cloud_of_microsoft_are_at_one_host() {
    for preset in PRESETS.iter().filter(|preset| preset.is_microsoft()) {
        let host = |text: &str| Url::parse(text).ok()?.host_str().map(str::to_owned);
        let hosts: HashSet<_> = endpoints(preset).into_iter().map(host).collect();
        assert_eq!(hosts.len(), 1, "{}", preset.name);
    }
}

#[test]
fn the_redirect_stays_on_this_machine() {
    for preset in PRESETS {
        let url = Url::parse(preset.redirect_url).expect(preset.name);
        let host = url.host_str().expect("a host");
        assert!(
            ["localhost", "127.0.0.1"].contains(&host),
            "{}",
            preset.name
        );
        // Only Microsoft and Google take any port; elsewhere a free one would never be the registered one.
        let any_port = preset.is_microsoft() || preset.name == "google";
        let is_fixed = url.port().is_some() || url.scheme() == "https";
        assert_eq!(is_fixed, !any_port, "{}", preset.name);
    }
}

#[test]
fn servers_are_host_names_at_the_ports_of_their_tls() {
    for preset in PRESETS {
        assert!(preset.imap.is_some(), "{}", preset.name);
        for server in servers(preset) {
            let Endpoint { host, port, tls } = endpoint(server, preset.region(None));
            assert!(
                rustls::pki_types::ServerName::try_from(&*host).is_ok(),
                "{host}"
            );
            assert!(host.contains('.') && !host.contains(['{', '/']), "{host}");
            let expected = match tls {
                UpstreamTls::Implicit => [993, 995, 465].contains(&port),
                UpstreamTls::StartTls => port == 587,
            };
            assert!(expected, "{host}:{port}");
        }
    }
}

#[test]
fn the_scopes_of_a_request_are_of_one_service() {
    for preset in PRESETS {
        for list in lists(preset) {
            assert!(!list.is_empty(), "{}", preset.name);
            let unique: HashSet<_> = list.iter().collect();
            assert_eq!(unique.len(), list.len(), "{}", preset.name);
            let hosts: HashSet<_> = list
                .iter()
                .filter_map(|scope| Url::parse(scope).ok()?.host_str().map(str::to_owned))
                .collect();
            assert!(hosts.len() <= 1, "{}: {hosts:?}", preset.name);
            for host in hosts.iter().filter(|_| !preset.audience.is_empty()) {
                assert!(preset.audience.contains(&host.as_str()), "{host}");
            }
        }
        assert_eq!(preset.is_microsoft(), !preset.audience.is_empty());
    }
}

#[test]
fn the_presets_of_microsoft_and_google_ask_who_signs_in_and_for_a_refresh_token() {
    for preset in PRESETS
        .iter()
        .filter(|p| p.is_microsoft() || p.name == "google")
    {
        for scope in ["openid", "email"] {
            assert!(preset.scopes.contains(&scope), "{}", preset.name);
        }
        let offline = preset.scopes.contains(&"offline_access")
            || preset
                .authorize_params
                .contains(&("access_type", "offline"));
        assert!(offline, "{}", preset.name);
    }
}

#[test]
fn what_cannot_be_had_by_oneself_says_so_in_words() {
    for preset in PRESETS {
        if let Registration::OnRequest(words) = preset.registration {
            assert!(words.len() > 20 && !words.ends_with('.'), "{}", preset.name);
        }
    }
    let by_hand = ["yahoo", "aol", "fastmail"];
    for name in by_hand {
        let preset = Preset::named(name).expect(name);
        assert_ne!(preset.registration, Registration::Open, "{name}");
    }
}

#[test]
fn only_servers_that_know_one_mechanism_are_told_which() {
    for preset in PRESETS {
        let told = preset.mechanism != MechanismChoice::Auto;
        assert_eq!(told, preset.name == "yandex");
    }
}

#[test]
fn an_issuer_is_only_known_for_a_tenant_id() {
    let microsoft = Preset::named("microsoft").unwrap();
    let id = "11111111-2222-3333-4444-55555555abcd";
    assert_eq!(
        microsoft.issuer(Some(id)).unwrap(),
        format!("https://login.microsoftonline.com/{id}/v2.0")
    );
    assert_eq!(microsoft.issuer(Some("contoso.onmicrosoft.com")), None);
    assert_eq!(microsoft.issuer(None), None);
    assert!(Preset::named("google").unwrap().issuer(None).is_some());
    assert!(Preset::named("gogle").is_none());
}

#[test]
fn an_account_has_the_presets_numbers_of_sessions_unless_it_says_others() {
    let numbers = |preset: &str, written: &str| {
        let text = format!(
            "[provider.p]\npreset = '{preset}'\nclient-id = 'x'\nclient-secret = 'y'\n\
             [[account]]\naddress = 'a@b'\nprovider = 'p'\n{written}"
        );
        let around = crate::config::Surroundings::default();
        let text = format!("state-dir = '/x'\n{text}");
        let config = crate::config::Config::parse_in(&text, "x.toml".as_ref(), &around);
        let MaxUpstream { imap, pop3, smtp } = config.unwrap().roster.accounts()[0].max_upstream;
        [imap, pop3, smtp]
    };
    assert_eq!(numbers("microsoft", ""), [None, None, Some(3)]);
    assert_eq!(numbers("google", ""), [Some(15), None, None]);
    let more = "max-upstream = { imap = 20, pop3 = 1 }";
    assert_eq!(numbers("microsoft", more), [Some(20), Some(1), Some(3)]);
    assert_eq!(numbers("google", "max-upstream = 5"), [Some(5); 3]);
}
