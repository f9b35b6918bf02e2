//! What a process that runs for years and holds secrets asks of the system.

use std::io;

/// Two sockets for each session, and some for everything else.
#[cfg(unix)]
const DESCRIPTORS_BESIDES: u64 = 64;

/// Keeps the memory of this process from everybody who does not rule the machine: no core dump, which would hold tokens, and on Linux
/// no debugger and no look into `/proc/PID` for other processes of the same user (`prctl(2)`, `PR_SET_DUMPABLE`).
///
/// # Errors
/// What the system refuses. It is no reason not to run, but one to tell.
pub fn close_memory() -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none)?;
    }
    // The limit alone does not bind a core pattern that pipes dumps to a program.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Takes as many file descriptors as `sessions` need, if the system allows it. Says in the log what the system refuses; it is no reason
/// not to run.
#[cfg(unix)]
pub fn make_room(sessions: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = sessions as u64 * 2 + DESCRIPTORS_BESIDES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let granted = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let wanted = Rlimit {
        current: Some(granted),
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "the limit of file descriptors cannot be raised");
    } else if granted < needed {
        tracing::warn!(
            needed,
            granted,
            "the system allows fewer file descriptors than `limits.sessions` may need (LimitNOFILE= in systemd)"
        );
    }
}

/// Nothing that is known to be needed.
#[cfg(not(unix))]
pub fn make_room(_sessions: usize) {}

/// What this machine calls itself.
#[cfg(unix)]
pub fn host_name() -> Option<String> {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// What this machine calls itself.
#[cfg(not(unix))]
pub fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME")
        .ok()
        .filter(|name| !name.is_empty())
}
