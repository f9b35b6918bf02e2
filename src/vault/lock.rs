//! Exclusion between threads and processes: the system's lock on a file that is never deleted.
//!
//! Deleting it would let two holders lock two files of the same name. Every attempt opens the file anew, since the system's locks
//! belong to the open file: so threads of one process exclude each other just as processes do.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::VaultError;
use super::permissions::{self, Owner};

/// Long enough for a token request with its time-out under the lock, short enough to tell a person that something hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
const HOLDER_MAX: u64 = 20;

/// Locks the file at `path`, waiting for at most `patience`; dropping the file unlocks it.
pub(super) fn acquire(path: &Path, owner: &Owner, patience: Duration) -> Result<File, VaultError> {
    let mut file = permissions::open_lock(path, owner)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(VaultError::io("lock", path)(error)),
            Err(TryLockError::WouldBlock) if start.elapsed() >= patience => {
                return Err(VaultError::Busy {
                    path: path.to_owned(),
                    holder: holder(&mut file),
                    waited: start.elapsed(),
                });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(POLL),
        }
    }
    sign(&mut file);
    Ok(file)
}

/// Leaves our process id for whoever waits. The lock holds without it, so a full disk is no reason to fail.
fn sign(file: &mut File) {
    let _ = file.set_len(0);
    let _ = write!(file, "{}", std::process::id());
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(HOLDER_MAX).read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(id)) => format!("process {id}"),
        _ => "another process".into(),
    }
}
