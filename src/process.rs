//! What a process that runs for years and holds secrets asks of the system.

/// Two sockets for each session, and some for everything else.
const DESCRIPTORS_BESIDES: u64 = 64;

/// Takes as many file descriptors as `sessions` need, if the system allows it, and leaves no core dump, which would hold tokens.
///
/// Says in the log what the system refuses; it is no reason not to run.
#[cfg(unix)]
pub fn prepare(sessions: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
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
pub fn prepare(_sessions: usize) {}

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
