//! The presets of this version.
//!
//! Where a fact is from stands beside it: the provider's own documentation, Thunderbird's table of providers
//! or its ISPDB (`autoconfig.thunderbird.net`). "Not documented" marks what is commonly known, but on no
//! page of the provider's that was read for this.

use super::super::{MaxUpstream, MechanismChoice::Auto, MechanismChoice::Xoauth2, UpstreamTls};
use super::{Preset, Registration, Secret, Server, Tenants};

const fn tls(host: &'static str, port: u16) -> Option<Server> {
    Some((host, port, UpstreamTls::Implicit))
}

const fn starttls(host: &'static str, port: u16) -> Option<Server> {
    Some((host, port, UpstreamTls::StartTls))
}

/// Nobody has said a number.
const UNKNOWN: MaxUpstream = MaxUpstream {
    imap: None,
    pop3: None,
    smtp: None,
};

/// Exchange answers a fourth one with `432 4.3.2`, after which many programs lose the message.
const EXCHANGE: MaxUpstream = MaxUpstream {
    smtp: Some(3),
    ..UNKNOWN
};

/// Gmail answers a sixteenth one with an alert.
const GMAIL: MaxUpstream = MaxUpstream {
    imap: Some(15),
    ..UNKNOWN
};

/// For providers that compare every octet: a port that is always the same, beside the console's.
const EXACT: &str = "http://localhost:8048/";

/// Presets by name. A test holds them to each other and to the standards.
pub const PRESETS: &[Preset] = &[
    // Microsoft 365, worldwide and GCC.
    // learn.microsoft.com: "Authenticate an IMAP, POP or SMTP connection using OAuth"; "National clouds"; reply-url. Hosts: ISPDB.
    Preset {
        name: "microsoft",
        title: "Microsoft 365, for work and school",
        tenants: Tenants::Own,
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Possible,
        authorize_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
        token_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        device_url: Some("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode"),
        revoke_url: None, // Microsoft has none
        issuer: Some("https://login.microsoftonline.com/{tenant}/v2.0"),
        // The port is ignored when this is matched; 127.0.0.1 could be registered only by editing the manifest.
        redirect_url: "http://localhost",
        // All of one resource: a request for two is refused, and the short names without a host mean Graph.
        scopes: &[
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/POP.AccessAsUser.All",
            "https://outlook.office.com/SMTP.Send",
            "offline_access",
            "openid",
            "profile",
            "email",
        ],
        app_scopes: Some(&["https://outlook.office365.com/.default"]),
        service_scopes: None,
        audience: &["outlook.office.com", "outlook.office365.com"],
        authorize_params: &[],
        imap: tls("outlook.office365.com", 993),
        pop3: tls("outlook.office365.com", 995),
        smtp: starttls("smtp.office365.com", 587),
        max_upstream: EXCHANGE,
        mechanism: Auto,
    },
    // Outlook.com, Hotmail, Live, MSN. The same documentation; hosts: ISPDB.
    Preset {
        name: "microsoft-personal",
        title: "Outlook.com, Hotmail, Live and MSN",
        tenants: Tenants::Only("consumers"),
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Refused,
        authorize_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
        token_url: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        device_url: Some("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode"),
        revoke_url: None,
        issuer: None, // that of a tenant whose id no page names
        redirect_url: "http://localhost",
        scopes: &[
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/POP.AccessAsUser.All",
            "https://outlook.office.com/SMTP.Send",
            "offline_access",
            "openid",
            "profile",
            "email",
        ],
        app_scopes: None,
        service_scopes: None,
        audience: &["outlook.office.com"],
        authorize_params: &[],
        imap: tls("outlook.office365.com", 993),
        pop3: tls("outlook.office365.com", 995),
        smtp: starttls("smtp-mail.outlook.com", 587),
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
    // GCC High. learn.microsoft.com: "National clouds"; "Office 365 U.S. Government GCC High endpoints" for the hosts.
    // The scopes follow the pattern of the worldwide cloud; not documented.
    Preset {
        name: "microsoft-gcc-high",
        title: "Microsoft 365 GCC High",
        tenants: Tenants::Own,
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Possible,
        authorize_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/authorize",
        token_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/token",
        device_url: Some("https://login.microsoftonline.us/{tenant}/oauth2/v2.0/devicecode"),
        revoke_url: None,
        issuer: Some("https://login.microsoftonline.us/{tenant}/v2.0"),
        redirect_url: "http://localhost",
        scopes: &[
            "https://outlook.office365.us/IMAP.AccessAsUser.All",
            "https://outlook.office365.us/POP.AccessAsUser.All",
            "https://outlook.office365.us/SMTP.Send",
            "offline_access",
            "openid",
            "profile",
            "email",
        ],
        app_scopes: Some(&["https://outlook.office365.us/.default"]),
        service_scopes: None,
        audience: &["outlook.office365.us"],
        authorize_params: &[],
        imap: tls("outlook.office365.us", 993),
        pop3: tls("outlook.office365.us", 995),
        smtp: starttls("outlook.office365.us", 587),
        max_upstream: EXCHANGE,
        mechanism: Auto,
    },
    // DoD. The same pages: "Office 365 U.S. Government DoD endpoints". The scopes are not documented.
    Preset {
        name: "microsoft-dod",
        title: "Microsoft 365 DoD",
        tenants: Tenants::Own,
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Possible,
        authorize_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/authorize",
        token_url: "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/token",
        device_url: Some("https://login.microsoftonline.us/{tenant}/oauth2/v2.0/devicecode"),
        revoke_url: None,
        issuer: Some("https://login.microsoftonline.us/{tenant}/v2.0"),
        redirect_url: "http://localhost",
        scopes: &[
            "https://outlook-dod.office365.us/IMAP.AccessAsUser.All",
            "https://outlook-dod.office365.us/POP.AccessAsUser.All",
            "https://outlook-dod.office365.us/SMTP.Send",
            "offline_access",
            "openid",
            "profile",
            "email",
        ],
        app_scopes: Some(&["https://outlook-dod.office365.us/.default"]),
        service_scopes: None,
        audience: &["outlook-dod.office365.us"],
        authorize_params: &[],
        imap: tls("outlook-dod.office365.us", 993),
        pop3: tls("outlook-dod.office365.us", 995),
        smtp: starttls("outlook-dod.office365.us", 587),
        max_upstream: EXCHANGE,
        mechanism: Auto,
    },
    // 21Vianet. learn.microsoft.com: "National clouds"; scopes and hosts as others use them (email-oauth2-proxy, its issue 255).
    Preset {
        name: "microsoft-china",
        title: "Microsoft 365 operated by 21Vianet",
        tenants: Tenants::Own,
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Possible,
        authorize_url: "https://login.partner.microsoftonline.cn/{tenant}/oauth2/v2.0/authorize",
        token_url: "https://login.partner.microsoftonline.cn/{tenant}/oauth2/v2.0/token",
        device_url: Some(
            "https://login.partner.microsoftonline.cn/{tenant}/oauth2/v2.0/devicecode",
        ),
        revoke_url: None,
        issuer: Some("https://login.partner.microsoftonline.cn/{tenant}/v2.0"),
        redirect_url: "http://localhost",
        scopes: &[
            "https://partner.outlook.cn/IMAP.AccessAsUser.All",
            "https://partner.outlook.cn/POP.AccessAsUser.All",
            "https://partner.outlook.cn/SMTP.Send",
            "offline_access",
            "openid",
            "profile",
            "email",
        ],
        app_scopes: Some(&["https://partner.outlook.cn/.default"]),
        service_scopes: None,
        audience: &["partner.outlook.cn"],
        authorize_params: &[],
        imap: tls("partner.outlook.cn", 993),
        pop3: tls("partner.outlook.cn", 995),
        smtp: starttls("smtp.partner.outlook.cn", 587),
        max_upstream: EXCHANGE,
        mechanism: Auto,
    },
    // Gmail and Workspace. developers.google.com: "OAuth 2.0 Mechanism" (Gmail IMAP), "OAuth 2.0 for Mobile & Desktop Apps".
    Preset {
        name: "google",
        title: "Gmail and Google Workspace",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Wanted,
        authorize_url: "https://accounts.google.com/o/oauth2/v2/auth",
        token_url: "https://oauth2.googleapis.com/token",
        device_url: None, // there is one, but it refuses the scope of mail (invalid_scope)
        revoke_url: Some("https://oauth2.googleapis.com/revoke"),
        issuer: Some("https://accounts.google.com"),
        redirect_url: "http://127.0.0.1",
        // The last two are not for mail: they make the provider say who signed in.
        scopes: &["https://mail.google.com/", "openid", "email"],
        app_scopes: None,
        // With domain-wide delegation, in Workspace only.
        service_scopes: Some(&["https://mail.google.com/"]),
        audience: &[],
        // Without both, a second consent yields no refresh token.
        authorize_params: &[("access_type", "offline"), ("prompt", "consent")],
        imap: tls("imap.gmail.com", 993),
        pop3: tls("pop.gmail.com", 995),
        smtp: tls("smtp.gmail.com", 465),
        max_upstream: GMAIL,
        mechanism: Auto,
    },
    // Thunderbird's table; Yahoo's developer pages for registration and mechanism; hosts: ISPDB.
    // The revocation endpoint is not documented.
    Preset {
        name: "yahoo",
        title: "Yahoo Mail",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::OnRequest(YAHOO),
        secret: Secret::Possible,
        authorize_url: "https://api.login.yahoo.com/oauth2/request_auth",
        token_url: "https://api.login.yahoo.com/oauth2/get_token",
        device_url: None,
        revoke_url: Some("https://api.login.yahoo.com/oauth2/revoke"),
        issuer: None,
        redirect_url: "https://127.0.0.1", // matched exactly; nothing listens there, so the address is pasted
        scopes: &["mail-w"],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.mail.yahoo.com", 993),
        pop3: tls("pop.mail.yahoo.com", 995),
        smtp: tls("smtp.mail.yahoo.com", 465),
        max_upstream: UNKNOWN,
        mechanism: Auto, // OAUTHBEARER is documented, some servers had XOAUTH2: the list decides
    },
    // Thunderbird's table maps att.net to Yahoo's issuer; hosts: ISPDB.
    Preset {
        name: "att",
        title: "AT&T Mail, at Yahoo",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::OnRequest(YAHOO),
        secret: Secret::Possible,
        authorize_url: "https://api.login.yahoo.com/oauth2/request_auth",
        token_url: "https://api.login.yahoo.com/oauth2/get_token",
        device_url: None,
        revoke_url: Some("https://api.login.yahoo.com/oauth2/revoke"),
        issuer: None,
        redirect_url: "https://127.0.0.1",
        scopes: &["mail-w"],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.mail.att.net", 993),
        pop3: tls("inbound.att.net", 995),
        smtp: tls("smtp.mail.att.net", 465),
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
    // Thunderbird's table and ISPDB. The revocation endpoint is not documented.
    Preset {
        name: "aol",
        title: "AOL Mail",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::OnRequest(YAHOO),
        secret: Secret::Possible,
        authorize_url: "https://api.login.aol.com/oauth2/request_auth",
        token_url: "https://api.login.aol.com/oauth2/get_token",
        device_url: None,
        revoke_url: Some("https://api.login.aol.com/oauth2/revoke"),
        issuer: None,
        redirect_url: "https://127.0.0.1",
        scopes: &["mail-w"],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.aol.com", 993),
        pop3: tls("pop.aol.com", 995),
        smtp: tls("smtp.aol.com", 465),
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
    // Fastmail's developer page: registration by hand, PKCE, no secret. Endpoints, issuer and scopes: Thunderbird's table.
    // The revocation endpoint and the host of POP3 are not documented there.
    Preset {
        name: "fastmail",
        title: "Fastmail",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::OnRequest(
            "Fastmail registers applications by hand, on request; until then there are app passwords",
        ),
        secret: Secret::Refused,
        authorize_url: "https://api.fastmail.com/oauth/authorize",
        token_url: "https://api.fastmail.com/oauth/refresh",
        device_url: None,
        revoke_url: Some("https://api.fastmail.com/oauth/revoke"),
        issuer: Some("https://api.fastmail.com"),
        redirect_url: EXACT,
        scopes: &[
            "https://www.fastmail.com/dev/protocol-imap",
            "https://www.fastmail.com/dev/protocol-pop",
            "https://www.fastmail.com/dev/protocol-smtp",
        ],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.fastmail.com", 993),
        pop3: tls("pop.fastmail.com", 995),
        smtp: tls("smtp.fastmail.com", 465),
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
    // Thunderbird's table and ISPDB.
    Preset {
        name: "comcast",
        title: "Comcast, Xfinity",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::OnRequest(
            "no page tells how Comcast registers applications; its mailboxes are being moved to Yahoo",
        ),
        secret: Secret::Possible,
        authorize_url: "https://oauth.xfinity.com/oauth/authorize",
        token_url: "https://oauth.xfinity.com/oauth/token",
        device_url: None,
        revoke_url: None,
        issuer: None,
        redirect_url: EXACT,
        scopes: &["https://email.comcast.net/", "profile", "openid"],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.comcast.net", 993),
        pop3: tls("mail.comcast.net", 995),
        smtp: tls("smtp.comcast.net", 465),
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
    // Yandex's pages on OAuth and on mail. Hosts: ISPDB. POP3 takes app passwords only. Revocation is not documented there.
    Preset {
        name: "yandex",
        title: "Yandex Mail",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Wanted,
        authorize_url: "https://oauth.yandex.com/authorize",
        token_url: "https://oauth.yandex.com/token",
        device_url: Some("https://oauth.yandex.com/device/code"),
        revoke_url: Some("https://oauth.yandex.com/revoke_token"),
        issuer: None,
        redirect_url: EXACT,
        scopes: &["mail:imap_full", "mail:smtp"],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.yandex.com", 993),
        pop3: None,
        smtp: tls("smtp.yandex.com", 465),
        max_upstream: UNKNOWN,
        mechanism: Xoauth2, // it knows no other
    },
    // Mail.ru's page on OAuth for the sign-in; the token endpoint is Thunderbird's. Only IMAP takes tokens, as far as is documented.
    Preset {
        name: "mailru",
        title: "Mail.ru",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::Open,
        secret: Secret::Wanted,
        authorize_url: "https://oauth.mail.ru/login",
        token_url: "https://o2.mail.ru/token",
        device_url: None,
        revoke_url: None,
        issuer: None,
        redirect_url: EXACT,
        scopes: &["userinfo", "mail.imap"], // the second only together with the first
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.mail.ru", 993),
        pop3: None,
        smtp: None,
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
    // Zoho's page on OAuth for IMAP and POP. The token and revocation endpoints are not documented there.
    // Accounts, codes and tokens are of one data centre.
    Preset {
        name: "zoho",
        title: "Zoho Mail",
        tenants: Tenants::None,
        regions: &["com", "eu", "in", "com.au", "jp", "com.cn"],
        registration: Registration::Open,
        secret: Secret::Wanted,
        authorize_url: "https://accounts.zoho.{region}/oauth/v2/auth",
        token_url: "https://accounts.zoho.{region}/oauth/v2/token",
        device_url: None,
        revoke_url: Some("https://accounts.zoho.{region}/oauth/v2/token/revoke"),
        issuer: None,
        redirect_url: EXACT,
        // One word: Zoho puts commas between scopes, not spaces.
        scopes: &["ZOHOMAIL.PROTOCOL.IMAP,ZOHOMAIL.PROTOCOL.POP"],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[("access_type", "offline"), ("prompt", "consent")],
        imap: tls("imap.zoho.{region}", 993),
        pop3: tls("pop.zoho.{region}", 995),
        smtp: None, // no scope of it is documented
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
    // Thunderbird's table and ISPDB.
    Preset {
        name: "seznam",
        title: "Seznam.cz",
        tenants: Tenants::None,
        regions: &[],
        registration: Registration::OnRequest(
            "no page tells how Seznam registers applications; ask Seznam",
        ),
        secret: Secret::Possible,
        authorize_url: "https://login.seznam.cz/api/v1/oauth/auth",
        token_url: "https://login.seznam.cz/api/v1/oauth/token",
        device_url: None,
        revoke_url: None,
        issuer: None, // it sends one, in a form that no page names
        redirect_url: EXACT,
        scopes: &["identity", "calendar", "email"],
        app_scopes: None,
        service_scopes: None,
        audience: &[],
        authorize_params: &[],
        imap: tls("imap.seznam.cz", 993),
        pop3: tls("pop3.seznam.cz", 995),
        smtp: tls("smtp.seznam.cz", 465),
        max_upstream: UNKNOWN,
        mechanism: Auto,
    },
];

const YAHOO: &str = "Yahoo and AOL give out no registrations for mail by self-service: there is an application form, and an agreement to \
                     sign; until then there are app passwords, with which a mail program needs no mailwicket";
