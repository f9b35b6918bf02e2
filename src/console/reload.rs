//! How a page asks for what HUP asks for: that the file is taken up, and what became of it.

use tokio::sync::{mpsc, oneshot};

/// Asks whoever runs the daemon to take the configuration file up.
#[derive(Clone)]
pub struct Reload {
    sender: mpsc::Sender<Wish>,
}

/// Somebody wants the configuration file to be taken up.
pub struct Wish {
    answer: oneshot::Sender<Result<(), String>>,
}

/// Wishes as they come.
pub struct Wishes {
    receiver: mpsc::Receiver<Wish>,
}

/// Both ends.
pub fn channel() -> (Reload, Wishes) {
    let (sender, receiver) = mpsc::channel(1);
    (Reload { sender }, Wishes { receiver })
}

impl Reload {
    /// Takes the file up, as HUP does.
    ///
    /// # Errors
    /// Why the old configuration stays in force, in words for people, over several lines where there are several problems.
    pub async fn ask(&self) -> Result<(), String> {
        let (answer, outcome) = oneshot::channel();
        let nobody = || "this mailwicket does not take its configuration up again".to_owned();
        let sent = self.sender.send(Wish { answer }).await;
        sent.map_err(|_| nobody())?;
        outcome.await.unwrap_or_else(|_| Err(nobody()))
    }
}

impl Wishes {
    /// The next wish; waits for ever when nobody can have one any more.
    pub async fn next(&mut self) -> Wish {
        match self.receiver.recv().await {
            Some(wish) => wish,
            None => std::future::pending().await,
        }
    }
}

impl Wish {
    /// Says what became of it.
    pub fn answer(self, outcome: Result<(), String>) {
        // Whoever asked may have gone.
        let _ = self.answer.send(outcome);
    }
}
