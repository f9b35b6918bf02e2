//! One connection, from accept to relay.

mod conversation;
mod doorstep;
mod guarded;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::caps::{Caps, Seat};
use crate::config::{Account, Listener, Timeouts};
use crate::dial::{Dialled, Dialler, LoginFailure, UpstreamStream};
use crate::dialogue::smtp::SenderGuard;
use crate::dialogue::{Bounds, FirstReply, Heard, LoggedIn, Login, Opening, Profile};
use crate::failure::{Cause, Failure};
use crate::observe::{Counters, LoginLine, timed};
use crate::password::{Passwords, Verified, vouch};
use crate::places::Stranger;
use crate::profiles::Profiles;
use crate::relay::{Ear, relay};
use crate::stage::Stage;
use crate::tls::{LocalStream, Terms};
use crate::token::{AccessToken, Tokens};
use conversation::{Claim, Conversation, End};
use guarded::Guarded;

/// What the sessions of a listener share.
pub struct Counter {
    /// The listener's configuration.
    pub listener: Arc<Listener>,
    /// The address that is bound.
    pub bound: SocketAddr,
    /// When TLS begins there, and with which certificate.
    pub terms: Arc<Terms>,
    /// How its provider's mail server is reached.
    pub dialler: Dialler,
    /// The check of local passwords.
    pub passwords: Arc<Passwords>,
    /// The access tokens.
    pub tokens: Tokens,
    /// The mail servers' capability lists.
    pub profiles: Arc<Profiles>,
    /// How long stages may take.
    pub timeouts: Timeouts,
    /// What a mail program may send before login.
    pub bounds: Bounds,
    /// What `status` tells.
    pub counters: Arc<Counters>,
    /// How many sessions an account may have.
    pub caps: Arc<Caps>,
    /// Set when mailwicket stops: nobody new is let in.
    pub stop: CancellationToken,
    /// Set when the time to finish is over.
    pub kill: CancellationToken,
}

impl Counter {
    /// The line in the log of a login that begins.
    fn login_line(&self, source: SocketAddr, claim: &Claim) -> LoginLine {
        LoginLine::begin(
            self.listener.protocol,
            source,
            self.bound,
            claim.name(),
            Arc::clone(&self.counters),
            self.kill.clone(),
        )
    }
}

/// What the mail program and we have told each other, as far as it matters upstream.
struct Shown {
    /// What SMTP's EHLO said.
    name: Option<String>,
    /// The capability list that it was shown.
    promised: Option<Profile>,
}

/// A connection that has passed `login`: the proof of it, and what it opened.
struct Opened {
    account: Arc<Account>,
    /// Watches who a session without a login sends as.
    guard: Option<SenderGuard>,
    upstream: UpstreamStream,
    logged_in: LoggedIn,
    seat: Seat,
}

/// What a login upstream gives.
type Authenticated = (Option<SenderGuard>, UpstreamStream, LoggedIn);

/// Carries one connection as far as it gets, and says so in the log.
pub async fn serve(counter: Arc<Counter>, local: TcpStream, source: SocketAddr, place: Stranger) {
    let mut local = LocalStream::from(local);
    let evicted = place.evicted();
    let mut place = Some(place);
    // The state until a login is large and short-lived: boxed, it costs nothing once the session is logged in.
    let admitting = Box::pin(async {
        let privacy = tokio::select! {
            biased; // where there is no handshake, whoever has to go is still told so
            privacy = timed(Stage::Tls, doorstep::enter(&counter, &mut local, source)) => privacy?,
            () = evicted.cancelled() => return Err(End::EVICTED),
        };
        let conversation = Conversation::begin(&counter, privacy, source.ip(), evicted.clone());
        admit(&counter, &mut local, conversation, source, &mut place).await
    });
    let admitted = tokio::select! {
        admitted = admitting => admitted,
        () = counter.kill.cancelled() => return,
    };
    match admitted {
        Ok((opened, opening)) => carry(&counter, local, opened, opening).await,
        Err(end) => {
            end.report(&counter.listener, source);
            if end.may_linger() {
                // It is still a stranger: whoever says good-bye and stays must not keep others out.
                tokio::select! {
                    () = conversation::linger(&mut local) => {}
                    () = evicted.cancelled() => {}
                }
            }
        }
    }
}

/// `dialogue`, and all that a login takes, until one succeeds.
async fn admit(
    counter: &Counter,
    local: &mut LocalStream,
    mut conversation: Conversation<'_>,
    source: SocketAddr,
    place: &mut Option<Stranger>,
) -> Result<(Opened, Opening), End> {
    loop {
        let talking = timed(Stage::Dialogue, conversation.claim(local));
        let claim = talking.await.inspect_err(|_| {
            conversation.note_missing_tls(source);
            conversation.note_missing_login(source);
        })?;
        let shown = Shown {
            name: conversation.name(),
            promised: conversation.promised(),
        };
        let mut line = counter.login_line(source, &claim);
        let login = open(counter, &claim, source.ip(), &shown, place, &mut line);
        match conversation.attend(local, login).await? {
            Ok(opened) => {
                let opening = conversation.accept(&opened.logged_in)?;
                line.succeeded();
                return Ok((opened, opening));
            }
            Err(failure) => {
                line.failed(&failure);
                conversation.refuse(local, &failure).await?
            }
        }
    }
}

/// `password`, then `token` and `dial` side by side, then `login`, with one renewal if the provider refused the token.
async fn open(
    counter: &Counter,
    claim: &Claim,
    source: IpAddr,
    shown: &Shown,
    place: &mut Option<Stranger>,
    line: &mut LoginLine,
) -> Result<Opened, Failure> {
    let verified = timed(Stage::Password, verify(counter, claim, source)).await?;
    line.verified(&verified.account().address);
    *place = None; // no stranger any more: a provider that hangs must not keep strangers of other listeners out
    let opened = open_upstream(counter, &verified, shown).await;
    opened.inspect_err(|failure| {
        counter
            .counters
            .failed(&verified.account().address, failure)
    })
}

/// What a mail program presents, or where it is.
async fn verify(counter: &Counter, claim: &Claim, source: IpAddr) -> Result<Verified, Failure> {
    let Listener {
        protocol,
        provider,
        without_login,
        ..
    } = &*counter.listener;
    match claim {
        Claim::Login(credentials) => {
            let passwords = &counter.passwords;
            passwords
                .verify(credentials, provider, *protocol, source)
                .await
        }
        Claim::Address => vouch(without_login.as_ref(), source),
    }
}

/// The part of [`open`] that has a name to log in with.
async fn open_upstream(
    counter: &Counter,
    verified: &Verified,
    shown: &Shown,
) -> Result<Opened, Failure> {
    let seat = counter
        .caps
        .enter(verified.account(), counter.listener.protocol)
        .await?;
    let trying = try_upstream(counter, verified, shown).await;
    let (guard, upstream, logged_in) = trying.inspect_err(|failure| {
        // Before the place is free again, so that whoever waits for it hears of this.
        if let Some(pause) = failure.pause {
            let protocol = counter.listener.protocol;
            counter.caps.hold(verified.account(), protocol, pause);
        }
    })?;
    Ok(Opened {
        account: Arc::clone(verified.account()),
        guard,
        upstream,
        logged_in,
        seat,
    })
}

/// The part that has a place; a token that is refused is renewed once.
async fn try_upstream(
    counter: &Counter,
    verified: &Verified,
    shown: &Shown,
) -> Result<Authenticated, Failure> {
    let dial = || timed(Stage::Dial, dial(counter, shown));
    let access = timed(Stage::Token, counter.tokens.access(verified));
    let (token, dialled) = tokio::try_join!(access, dial())?;
    match login(counter, verified, dialled, &token).await {
        Err(LoginFailure::TokenRefused(refused)) => {
            tracing::debug!(stage = %Stage::Login, %refused, "renewing the token once");
            let (token, dialled) = tokio::try_join!(
                timed(Stage::Token, counter.tokens.renew(verified, &token)),
                dial()
            )?;
            login(counter, verified, dialled, &token)
                .await
                .map_err(LoginFailure::into_failure)
        }
        result => result.map_err(LoginFailure::into_failure),
    }
}

/// Dials, and sees that the provider still offers what the mail program was told.
async fn dial(counter: &Counter, shown: &Shown) -> Result<Dialled, Failure> {
    let dialled = counter.dialler.dial(shown.name.as_deref()).await?;
    counter.profiles.learn(&counter.dialler, dialled.profile());
    let promised = shown.promised.as_ref();
    match promised.and_then(|promised| dialled.profile().lacks(promised)) {
        None => Ok(dialled),
        Some(word) => {
            let detail = format!(
                "{} no longer offers {word}; the next session sees the new list",
                counter.dialler.endpoint
            );
            Err(Failure::new(Stage::Login, Cause::Changed, detail))
        }
    }
}

async fn login(
    counter: &Counter,
    verified: &Verified,
    dialled: Dialled,
    token: &AccessToken,
) -> Result<Authenticated, LoginFailure> {
    let account = verified.account();
    let guard = verified
        .senders()
        .map(|senders| SenderGuard::new(Arc::clone(senders), dialled.profile()));
    let login = Login {
        identity: account.identity.of(counter.listener.protocol),
        token,
        mechanism: account.provider.mechanism,
        host: &counter.dialler.endpoint.host,
        port: counter.dialler.endpoint.port,
    };
    let (upstream, logged_in) = timed(Stage::Login, dialled.login(&login)).await?;
    Ok((guard, upstream, logged_in))
}

/// `relay`, until both sides are done or mailwicket must end.
async fn carry(counter: &Counter, mut local: LocalStream, opened: Opened, opening: Opening) {
    let Opened {
        account,
        guard,
        mut upstream,
        logged_in,
        seat: _seat,
    } = opened;
    let session = counter.counters.logged_in(&account.address);
    let end = counter.kill.cancelled();
    let ear = ear(counter, &account);
    let (traffic, result) = match guard {
        None => relay(&mut local, &mut upstream, &opening, &logged_in, ear, end).await,
        Some(guard) => {
            let (mut guarded, opening) = Guarded::new(&mut local, guard, opening);
            let carried = relay(&mut guarded, &mut upstream, &opening, &logged_in, ear, end).await;
            guarded.part(&account).await;
            carried
        }
    };
    session.ended(traffic);
    conversation::part(&mut local).await;
    match result {
        Ok(()) => {
            tracing::info!(stage = %Stage::Relay, account = account.address, up = traffic.up, down = traffic.down, "session ended")
        }
        Err(error) => {
            tracing::info!(stage = %Stage::Relay, account = account.address, up = traffic.up, down = traffic.down, %error, "session broke off")
        }
    }
}

/// Hears the provider's first answers: some let everybody with a token in, and refuse the mailbox or the sender only then.
fn ear<'a>(counter: &'a Counter, account: &'a Account) -> Ear<'a> {
    let protocol = counter.listener.protocol;
    let mut first = FirstReply::new(protocol);
    Box::new(move |said| match first.hear(said) {
        Heard::More => true,
        Heard::Nothing => false,
        Heard::Trouble(detail) => {
            let failure = Failure::new(Stage::Relay, Cause::Refused, detail);
            let identity = account.identity.of(protocol);
            tracing::warn!(stage = %failure.stage, code = failure.cause.code(), account = account.address, identity, detail = failure.detail, "the provider refused what the mail program asked after its login");
            counter.counters.failed(&account.address, &failure);
            false
        }
    })
}

/// Tells a mail program that there is no room for it now.
pub async fn turn_away(counter: &Counter, local: TcpStream) {
    doorstep::turn_away(counter, local).await;
}
