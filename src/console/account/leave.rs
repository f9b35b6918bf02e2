//! What ends something: a sign-in that is revoked, an account that is taken out of the configuration. Each is asked for once more.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Redirect;
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::gate::{Form, Nothing, Session};
use super::super::page::{Fault, Flash, Page};
use super::super::{Console, InForce};
use super::{find, path_of};
use crate::config::Account;
use crate::config::change::change;
use crate::config::edit;
use crate::{revoke, vault};

pub fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/account/{address}/revoke", get(ask_revoke).post(do_revoke))
        .route("/account/{address}/remove", get(ask_remove).post(do_remove))
}

/// A button that is not pressed by mistake.
fn confirm(session: &Session, path: &str, fields: &Markup, button: &str) -> Markup {
    html! {
        form method="post" action=(path) {
            (session.csrf())
            (fields)
            button.danger type="submit" { (button) }
        }
    }
}

async fn ask_revoke(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
) -> Result<Markup, Fault> {
    let account = find(&console.now(), &address)?;
    let address = &account.address;
    let path = path_of(address, "/revoke");
    let local = html! { input type="hidden" name="local" value="on"; };
    let content = html! {
        section {
            p {
                "The tokens are given back to the provider, where it takes them back, and forgotten here. Logins of mail programs are "
                "refused from then on, until somebody signs in again."
            }
            (confirm(&session, &path, &html! {}, "Revoke the sign-in"))
        }
        section {
            p { "Or forget the tokens here alone: the provider is not asked, and who has a copy of them can use them." }
            (confirm(&session, &path, &local, "Only forget them here"))
        }
        p { a href=(path_of(address, "")) { "Keep the sign-in" } }
    };
    let title = format!("Revoke the sign-in of {address}?");
    Ok(Page::new(&title, "/").show(&session, &content))
}

/// The two buttons.
#[derive(Deserialize)]
struct How {
    /// Whether the provider is left alone; empty if not.
    #[serde(default)]
    local: String,
}

async fn do_revoke(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
    Form(How { local }): Form<How>,
) -> Result<Redirect, Fault> {
    let account = find(&console.now(), &address)?;
    let to = Redirect::to(&path_of(&account.address, ""));
    Console::whole(async move {
        let flash = match end(&console, &account, local.is_empty()).await {
            Ok(words) => {
                tracing::info!(
                    account = account.address,
                    "a sign-in was ended in the console"
                );
                Flash::done(words)
            }
            Err(words) => Flash::fault(words.replace("ACCOUNT", &account.address)),
        };
        session.flash(flash);
    })
    .await?;
    Ok(to)
}

async fn end(
    console: &Console,
    account: &Arc<Account>,
    at_provider: bool,
) -> Result<String, String> {
    let in_force = console.now();
    if at_provider {
        let limit = in_force.config.timeouts.token;
        let revoked = revoke::revoke(account, &in_force.vault, limit).await;
        return revoked.map_err(|error| error.to_string());
    }
    let (vault, address) = (in_force.vault.clone(), account.address.clone());
    let forgotten = vault::blocking(move || revoke::forget(&vault, &address)).await;
    forgotten.map_err(|error| error.to_string())
}

async fn ask_remove(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
) -> Result<Markup, Fault> {
    let account = find(&console.now(), &address)?;
    let address = &account.address;
    let content = html! {
        section {
            p {
                "The account is taken out of the configuration, with its comment; the rest of the file stays as it is. Mail programs cannot "
                "log in with it any more."
            }
            p {
                "Its tokens and passwords stay in the vault. To end the sign-in at the provider as well, "
                a href=(path_of(address, "/revoke")) { "revoke it" } " first."
            }
            (confirm(&session, &path_of(address, "/remove"), &html! {}, "Remove the account"))
        }
        p { a href=(path_of(address, "")) { "Keep the account" } }
    };
    let title = format!("Remove {address}?");
    Ok(Page::new(&title, "/").show(&session, &content))
}

async fn do_remove(
    State(console): State<Arc<Console>>,
    session: Session,
    Path(address): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Fault> {
    let address = find(&console.now(), &address)?.address.clone();
    Console::whole(remove(console, session, address)).await?
}

async fn remove(
    console: Arc<Console>,
    session: Session,
    address: String,
) -> Result<Redirect, Fault> {
    let removing = {
        let address = address.clone();
        move |in_force: &InForce| {
            let config = &in_force.config;
            let edit = |text: &str| edit::remove_account(text, &address);
            change(&config.path, &config.around, edit).map(drop)
        }
    };
    let removed = console
        .blocking(removing)
        .await
        .ok_or_else(Fault::internal)?;
    if let Err(error) = removed {
        session.flash(Flash::fault(error.to_string()));
        return Ok(Redirect::to(&path_of(&address, "/remove")));
    }
    tracing::info!(account = address, "an account was removed in the console");
    session.flash(match console.reload().await {
        Ok(()) => Flash::done(format!("{address} is removed from the configuration.")),
        Err(error) => Flash::fault(format!(
            "{address} is removed from the file, but the old configuration stays in force:\n{error}"
        )),
    });
    Ok(Redirect::to("/"))
}
