use super::*;

const DAVE: &str = "dave@fabrikam.com";

impl Bench {
    /// What `password add` does for a mailbox that only the template covers.
    fn add_of_template(&self, address: &str, password: &[u8]) {
        let account = self.roster.by_address(address).unwrap();
        add(&self.vault, &account, named("default", password)).unwrap();
    }

    fn record_of(&self, address: &str) -> std::path::PathBuf {
        let vault = self.state.path().join("vault");
        vault.join(format!("{address}.passwords"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_of_a_template_is_there_as_long_as_it_has_a_password() {
    let bench = Bench::new(&[]);
    assert!(bench.login(DAVE, b"right").await.is_err());
    bench.add_of_template("Dave@Fabrikam.com", b"right");
    for login in [DAVE, "DAVE@FABRIKAM.COM"] {
        let verified = bench.login(login, b"right").await.unwrap();
        assert_eq!(verified.account().address, DAVE);
        assert_eq!(verified.account().identity.smtp, DAVE);
    }
    assert!(bench.login(DAVE, b"wrong").await.is_err());
    let everybody = || mailboxes(&bench.roster, &bench.vault);
    assert_eq!(everybody().last().unwrap().address, DAVE);
    remove(&bench.vault, DAVE, "default").unwrap();
    assert!(bench.login(DAVE, b"right").await.is_err());
    assert!(bench.passwords.doors.met_so_far().is_empty());
    assert_eq!(everybody().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_made_up_mailbox_leaves_nothing_behind_and_hears_what_a_wrong_password_hears() {
    let bench = Bench::new(&[]);
    bench.add_of_template(DAVE, b"right");
    bench.login(DAVE, b"right").await.unwrap();
    bench.passwords.uses().settle().await;
    let before = bench.files();
    let wrong = bench.login(DAVE, b"wrong").await.unwrap_err();
    let too_long = format!("{}@fabrikam.com", "x".repeat(300));
    let made_up = (0..50).map(|number| format!("nobody-{number}@fabrikam.com"));
    let odd = [
        "*@fabrikam.com",
        "../dave@fabrikam.com",
        "@fabrikam.com",
        "a\0@fabrikam.com",
    ];
    let odd = odd.into_iter().map(str::to_owned).chain([too_long]);
    for login in made_up.chain(odd) {
        let (start, hashes) = (Instant::now(), bench.hashes());
        let failure = bench.login(&login, b"right").await.unwrap_err();
        assert_eq!(failure, wrong, "{login}");
        let took = start.elapsed().as_millis();
        assert!((1000..=1101).contains(&took), "{login}: {took} ms");
        // That of dave, if it is checked against his, is known by now and no less work.
        assert_eq!(bench.hashes(), hashes + 1, "{login}");
    }
    assert_eq!(bench.passwords.doors.met_so_far(), [DAVE]);
    bench.passwords.uses().settle().await;
    assert_eq!(bench.files(), before);
}

#[tokio::test(start_paused = true)]
async fn trouble_with_a_mailbox_of_a_template_is_some_made_up_names_trouble_too() {
    let bench = {
        let mut bench = Bench::new(&[]);
        bench.add_of_template(DAVE, b"right");
        fs::write(bench.record_of(DAVE), b"").unwrap();
        bench.reload();
        bench
    };
    let failure = bench.login(DAVE, b"right").await.unwrap_err();
    assert_eq!(failure.cause, Cause::Config);
    let mut causes = Vec::new();
    for number in 0..64 {
        let unknown = format!("nobody-{number}@fabrikam.com");
        causes.push(bench.login(&unknown, b"right").await.unwrap_err().cause);
    }
    assert!(causes.contains(&Cause::Config) && causes.contains(&Cause::Password));
    assert_eq!(bench.passwords.doors.met_so_far(), [DAVE]);
}

#[tokio::test(start_paused = true)]
async fn where_the_vault_cannot_be_read_a_made_up_mailbox_has_the_same_trouble() {
    let bench = Bench::new(&[]);
    bench.add_of_template(DAVE, b"right");
    let folder = bench.state.path().join("vault");
    fs::rename(&folder, bench.state.path().join("aside")).unwrap();
    fs::write(&folder, b"").unwrap();
    let of_dave = bench.login(DAVE, b"right").await.unwrap_err();
    let of_nobody = bench.login("nobody@fabrikam.com", b"right").await;
    assert_eq!(of_dave.cause, Cause::Token);
    assert_eq!(of_nobody.unwrap_err().cause, of_dave.cause);
    assert!(bench.passwords.doors.met_so_far().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reload_forgets_nothing_of_a_mailbox_of_a_template() {
    let mut bench = Bench::new(&[]);
    bench.add_of_template(DAVE, b"right");
    bench.login(DAVE, b"right").await.unwrap();
    let hashes = bench.hashes();
    bench.reload();
    bench.login(DAVE, b"right").await.unwrap();
    assert_eq!(bench.hashes(), hashes);
    // One that gets a table of its own keeps its passwords, and what is known of them.
    let own = bench.roster.by_address(DAVE).unwrap();
    bench.roster = Roster::new(vec![own], Vec::new());
    bench.reload();
    bench.login(DAVE, b"right").await.unwrap();
    assert_eq!(bench.hashes(), hashes);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_of_a_template_is_opened_at_its_own_provider_only() {
    let bench = Bench::new(&[]);
    bench.add_of_template(DAVE, b"right");
    let other = Provider {
        name: "other".into(),
        ..Provider::clone(&bench.alice.provider)
    };
    let credentials = Credentials {
        login: DAVE.into(),
        password: b"right".to_vec().into(),
    };
    let here = HERE.parse().unwrap();
    let verified = bench.verify_at(&other, &credentials, Protocol::Imap, here);
    assert!(verified.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_person_and_a_mailbox_open_it_by_its_own_password_alone() {
    let mut bench = Bench::new(&[&cheap(b"of alice")]);
    let shared = account("support@contoso.com", &["desk"], &[&cheap(b"of the desk")]);
    let shared = Account {
        authorize_as: Some(ALICE.to_owned()),
        ..Account::clone(&shared)
    };
    bench.roster = Roster::new(vec![bench.alice.clone(), Arc::new(shared)], Vec::new());
    bench.reload();
    for login in [
        r"alice@contoso.com\support@contoso.com",
        "ALICE@contoso.com/Support",
    ] {
        let verified = bench.login(login, b"of the desk").await.unwrap();
        assert_eq!(verified.account().address, "support@contoso.com");
        assert!(bench.login(login, b"of alice").await.is_err());
    }
    let backwards = r"support@contoso.com\alice@contoso.com";
    for password in [&b"of the desk"[..], b"of alice"] {
        assert!(bench.login(backwards, password).await.is_err());
    }
}
