use super::*;

fn parsed(text: &str) -> Result<Proxy, String> {
    parse(&text.into(), Origin::File)
}

fn environment(variables: &[(&str, &str)]) -> Egress {
    let get = |name: &str| {
        let set = variables.iter().find(|(known, _)| *known == name);
        set.map(|(_, value)| (*value).to_owned())
    };
    Egress::Environment(Arc::new(Environment::read(get)))
}

fn shown(proxy: Option<&Arc<Proxy>>) -> String {
    proxy.map_or_else(|| "direct".into(), ToString::to_string)
}

#[test]
fn a_proxy_is_read_from_a_url_with_or_without_a_scheme() {
    for (text, expected) in [
        ("http://proxy.corp:3128", "http://proxy.corp:3128 (egress)"),
        ("http://proxy.corp:80/", "http://proxy.corp:80 (egress)"),
        ("proxy.corp:3128", "http://proxy.corp:3128 (egress)"),
        ("http://[::1]:8080", "http://[::1]:8080 (egress)"),
        ("http://u:p@10.0.0.1:8", "http://10.0.0.1:8 (egress)"),
        ("socks5://s.corp", "socks5://s.corp:1080 (egress)"),
        ("socks5h://s.corp:9050", "socks5://s.corp:9050 (egress)"),
        ("SOCKS5://[fe80::1]:1", "socks5://[fe80::1]:1 (egress)"),
    ] {
        assert_eq!(parsed(text).unwrap().to_string(), expected, "{text}");
    }
}

#[test]
fn what_is_no_proxy_is_refused_without_a_word_of_it() {
    for (text, said) in [
        ("http://hunter2@proxy.corp", "no port"),
        ("http://u:hunter2@proxy.corp", "no port"),
        ("http://proxy.corp:0", "no port"),
        ("https://u:hunter2@proxy.corp:443", "TLS with the proxy"),
        ("socks4://hunter2:1", "must begin with"),
        ("ftp://hunter2:1", "must begin with"),
        ("http://wpad:80/hunter2.pac", "PAC"),
        ("http://:hunter2@proxy:1", "no user name"),
        ("http://hunter%3A2:x@proxy:1", "colon"),
        ("http://u:hunter2%0D%0A@proxy:1", "control"),
        ("socks5://hunter2@proxy", "no password"),
        ("socks5://a%20b/hunter2", "path"),
        ("http://", "not a URL"),
        ("http://u:hunter2@x y:1", "not a URL"),
        ("http://proxy:hunter2", "not a URL"),
    ] {
        let fault = parsed(text).unwrap_err();
        assert!(fault.contains(said), "{text}: {fault}");
        assert!(!fault.contains("hunter"), "{text}: {fault}");
    }
}

#[test]
fn user_and_password_are_decoded_and_never_shown() {
    let proxy = parsed("http://ann%40corp:hunt%3Aer2@proxy:1").unwrap();
    assert!(!format!("{proxy} {proxy:?}").contains("hunt"), "{proxy:?}");
    let login = proxy.login.unwrap();
    assert_eq!(login.user, "ann@corp");
    let password = login.password.unwrap().read().unwrap();
    assert_eq!(password.expose_secret(), "hunt:er2");
    let broken =
        Environment::read(|name| (name == "ALL_PROXY").then(|| "ftp://u:hunter2@x".to_owned()));
    assert!(!format!("{broken:?}").contains("hunter2"), "{broken:?}");
}

#[test]
fn tokens_follow_the_https_proxy_and_mail_the_one_for_all() {
    let (https, all) = (("HTTPS_PROXY", "w:1"), ("ALL_PROXY", "socks5://s"));
    for (variables, tokens, mail) in [
        (&[][..], "direct", "direct"),
        (&[https], "http://w:1 ($HTTPS_PROXY)", "direct"),
        (
            &[all],
            "socks5://s:1080 ($ALL_PROXY)",
            "socks5://s:1080 ($ALL_PROXY)",
        ),
        (
            &[https, all],
            "http://w:1 ($HTTPS_PROXY)",
            "socks5://s:1080 ($ALL_PROXY)",
        ),
        (
            &[("HTTPS_PROXY", ""), all],
            "socks5://s:1080 ($ALL_PROXY)",
            "socks5://s:1080 ($ALL_PROXY)",
        ),
        (
            &[https, ("https_proxy", "l:1")],
            "http://l:1 ($https_proxy)",
            "direct",
        ),
        (
            &[("http_proxy", "w:1"), ("HTTP_PROXY", "w:1")],
            "direct",
            "direct",
        ),
    ] {
        let egress = environment(variables);
        let host = "x.example";
        assert_eq!(shown(egress.for_tokens(host)), tokens, "{variables:?}");
        assert_eq!(shown(egress.for_mail(host)), mail, "{variables:?}");
    }
}

#[test]
fn a_proxy_for_tokens_only_can_be_named_to_whose_mail_does_not_get_through() {
    let egress = environment(&[("HTTPS_PROXY", "w:1")]);
    assert!(egress.for_tokens_only("x.example").is_some());
    assert!(egress.for_tokens_only("localhost").is_none());
    let egress = environment(&[("HTTPS_PROXY", "w:1"), ("ALL_PROXY", "a:1")]);
    assert!(egress.for_tokens_only("x.example").is_none());
}

#[test]
fn exceptions_are_those_of_curl() {
    let lists = [
        (
            "no_proxy",
            "corp.example, .dotted.example,10.0.0.0/8 192.168.1.5",
        ),
        ("NO_PROXY", "ignored.example"),
    ];
    let egress = environment(&[&[("ALL_PROXY", "a:1")][..], &lists].concat());
    for (host, is_direct) in [
        ("corp.example", true),
        ("CORP.example", true),
        ("imap.corp.example", true),
        ("notcorp.example", false),
        ("dotted.example", true),
        ("a.dotted.example", true),
        ("ignored.example", false),
        ("10.1.2.3", true),
        ("192.168.1.5", true),
        ("192.168.1.6", false),
        ("11.0.0.1", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(egress.for_mail(host).is_none(), is_direct, "{host}");
        assert_eq!(egress.for_tokens(host).is_none(), is_direct, "{host}");
    }
    let everything = environment(&[("ALL_PROXY", "a:1"), ("NO_PROXY", "*")]);
    assert!(everything.for_mail("x.example").is_none());
}

#[test]
fn this_machine_is_reached_directly_unless_the_file_says_otherwise() {
    let written = Egress::Proxy(Arc::new(parsed("a:1").unwrap()));
    for variables in [
        &[("ALL_PROXY", "a:1")][..],
        &[("ALL_PROXY", "a:1"), ("NO_PROXY", "x.example")],
    ] {
        let egress = environment(variables);
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "a.localhost",
        ] {
            assert!(egress.for_mail(host).is_none(), "{host}");
            assert!(egress.for_tokens(host).is_none(), "{host}");
            assert!(written.for_mail(host).is_some(), "{host}");
        }
        for host in ["localhost.example", "127.0.0.1.example", "128.0.0.1"] {
            assert!(egress.for_mail(host).is_some(), "{host}");
        }
    }
}
