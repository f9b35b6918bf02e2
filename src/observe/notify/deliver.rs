//! Brings notices to people: to a command on its standard input, and to a web address.

use std::future::Future;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use super::watch::Notice;
use crate::config::{self, Notify, Program, SecretSource};
use crate::oauth::http::{HttpClient, HttpError};
use crate::tls::{self, TlsError};

/// How long a command, or a web address, may take.
const TIME: Duration = Duration::from_secs(30);

/// Why nobody was told.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The command could not be run to its end.
    #[error("the notify command `{program}` cannot be run: {source}")]
    Command {
        /// Its program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command said that it failed.
    #[error("the notify command `{program}` ended with {status}")]
    Refused {
        /// Its program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The command did not end.
    #[error("the notify command `{program}` took longer than {} s and was stopped", TIME.as_secs())]
    Slow {
        /// Its program.
        program: String,
    },
    /// The web address cannot be read, or is none.
    #[error("the webhook's address: {0}")]
    Address(String),
    /// The web address did not take it. The address itself may be secret, so only its host is named.
    #[error("the webhook: {0}")]
    Webhook(#[from] HttpError),
}

/// What is delivered: one object for all that is news at one time.
#[derive(Serialize)]
struct Message<'a> {
    /// Everything in words, a line for each notice; what chat programs show.
    text: String,
    notices: &'a [Notice],
}

/// Whoever brings notices to people.
pub trait Tell: Send + Sync + 'static {
    /// Tells people; on every way that there is.
    ///
    /// # Errors
    /// The first, if it failed on all of them.
    fn tell(&self, notices: &[Notice]) -> impl Future<Output = Result<(), DeliveryError>> + Send;
}

/// The ways to people that are configured.
pub struct Messenger {
    command: Option<Program>,
    webhook: Option<SecretSource>,
    http: HttpClient,
}

impl Messenger {
    /// As the configuration says.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(notify: &Notify) -> Result<Self, TlsError> {
        Ok(Self {
            command: notify.command.clone(),
            webhook: notify.webhook.clone(),
            http: HttpClient::new(&tls::upstream(None)?, notify.egress.clone(), TIME),
        })
    }

    async fn post(&self, address: &SecretSource, message: Vec<u8>) -> Result<(), DeliveryError> {
        let source = address.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let address = read
            .map_err(|error| DeliveryError::Address(error.to_string()))?
            .map_err(|error| DeliveryError::Address(error.to_string()))?;
        // What is wrong with it is not quoted: it may be a secret.
        let url = Url::parse(address.expose_secret())
            .map_err(|error| DeliveryError::Address(error.to_string()))?;
        if let Some((fault, hint)) = config::webhook_fault(&url) {
            return Err(DeliveryError::Address(format!("{fault}; {hint}")));
        }
        Ok(self.http.post_json(&url, message).await?)
    }
}

impl Tell for Messenger {
    /// One way that failed while another succeeded is in the log.
    async fn tell(&self, notices: &[Notice]) -> Result<(), DeliveryError> {
        let lines: Vec<String> = notices.iter().map(Notice::text).collect();
        let text = format!("mailwicket: {}", lines.join("\n"));
        // Strings and times always can be written as JSON.
        let message = serde_json::to_vec(&Message { text, notices }).unwrap_or_default();
        let mut results = Vec::new();
        if let Some(command) = &self.command {
            results.push(run(command, &message).await);
        }
        if let Some(address) = &self.webhook {
            results.push(self.post(address, message).await);
        }
        let is_heard = results.iter().any(Result::is_ok);
        for result in results {
            match result {
                Err(error) if is_heard => {
                    tracing::warn!(%error, "a notice was delivered in one way only");
                }
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Runs a command with the message on its standard input.
async fn run(command: &Program, message: &[u8]) -> Result<(), DeliveryError> {
    let program = || command.name().to_owned();
    let running = async {
        let mut child = Command::from(command.command())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A command need not read what it is told.
            match input.write_all(message).await {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => drop(input),
            }
        }
        child.wait().await
    };
    match timeout(TIME, running).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(DeliveryError::Refused {
            program: program(),
            status,
        }),
        Ok(Err(source)) => Err(DeliveryError::Command {
            program: program(),
            source,
        }),
        Err(_) => Err(DeliveryError::Slow { program: program() }),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::oauth::testing::{Endpoint, Reply};
    use crate::observe::notify::Event;

    fn notice() -> Notice {
        Notice {
            event: Event::Began,
            subject: "alice@example.com".into(),
            state: "needs-consent".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
            reason: "it lapsed".into(),
            remedy: "Sign in again".into(),
        }
    }

    fn shell(script: &str) -> Messenger {
        let words = ["sh", "-c", script].map(str::to_owned);
        Messenger::new(&Notify {
            command: Some(words.to_vec().into()),
            ..Notify::default()
        })
        .expect("TLS")
    }

    #[tokio::test]
    async fn a_command_reads_what_happened_on_its_standard_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("told");
        let messenger = shell(&format!("cat > {}", file.display()));
        messenger.tell(&[notice()]).await.expect("delivered");
        let told: serde_json::Value =
            serde_json::from_slice(&std::fs::read(file).expect("told")).expect("JSON");
        assert_eq!(told["notices"][0]["state"], "needs-consent");
        assert_eq!(
            told["text"],
            "mailwicket: alice@example.com: needs-consent. it lapsed. Sign in again"
        );
    }

    #[tokio::test]
    async fn a_command_that_fails_or_is_not_there_is_an_error_and_one_that_reads_nothing_is_not() {
        let failed = shell("exit 3").tell(&[notice()]).await;
        assert!(matches!(failed, Err(DeliveryError::Refused { .. })));
        shell("exec 0<&-; exit 0")
            .tell(&[notice()])
            .await
            .expect("delivered");
        let nowhere = Messenger::new(&Notify {
            command: Some(vec!["/nowhere/tell-me".to_owned()].into()),
            ..Notify::default()
        });
        let missing = nowhere.expect("TLS").tell(&[notice()]).await;
        assert!(matches!(missing, Err(DeliveryError::Command { .. })));
    }

    #[tokio::test]
    async fn a_webhook_with_a_password_in_it_is_refused_without_quoting_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("address");
        std::fs::write(&file, "http://user:s3cret@127.0.0.1:9/x").expect("written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("ours");
        let messenger = Messenger::new(&Notify {
            webhook: Some(SecretSource::File(file)),
            ..Notify::default()
        });
        let error = messenger.expect("TLS").tell(&[notice()]).await;
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("must not hold a user name"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[tokio::test]
    async fn a_webhook_is_posted_the_same_and_its_no_is_an_error_that_does_not_name_it() {
        let replies = vec![
            Reply::with(204, "", ""),
            Reply::with(403, "", "gone: /hooks/s3cret"),
        ];
        let endpoint = Endpoint::replying(replies).await;
        let address = endpoint.url.join("/hooks/s3cret").expect("a URL");
        let messenger = Messenger::new(&Notify {
            webhook: Some(SecretSource::Inline(address.as_str().into())),
            ..Notify::default()
        });
        let messenger = messenger.expect("TLS");
        messenger.tell(&[notice()]).await.expect("delivered");
        let request = &endpoint.requests()[0];
        assert!(request.starts_with("POST /hooks/s3cret "), "{request}");
        assert!(request.contains("application/json"), "{request}");
        assert!(request.contains("needs-consent"), "{request}");
        let error = messenger.tell(&[notice()]).await.expect_err("refused");
        let error = error.to_string();
        assert!(
            error.contains("403") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
