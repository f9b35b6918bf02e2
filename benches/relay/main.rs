//! What mailwicket costs, beside the least that tokio and rustls can do, in one run.
//!
//! `cargo bench` prints, per second of CPU time of the proxy's own process: megabytes through the relay, and logins; then the
//! memory of an idle session. The peers are child processes, so that nothing but the proxy is measured:
//!
//! * `mailwicket`: the real program, with a real password check and a token;
//! * `bare`: accept, TLS connect, `tokio::io::copy_bidirectional`; it knows no protocol and no authentication;
//! * `nginx`: its stream module doing the same, where it is installed.
//!
//! Only ratios within one run mean something. Linux only: CPU time and memory come from `/proc`.

mod bare;
mod client;
mod measure;
mod peers;
mod upstream;

use std::time::Duration;

use client::Load;
use measure::Usage;
use peers::Peer;

/// Rounds of every measurement, interleaved between the peers; the median counts.
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, port, ca] = &arguments[..]
        && mode == "--bare"
    {
        return bare::run(port.parse().expect("a port"), ca);
    }
    let upstream = upstream::start();
    let peers = peers::start(&upstream);
    let loads = [
        (
            "bulk down, 1 MB pieces (MB per CPU-s)",
            Load::Down {
                connections: 4,
                piece: 1 << 20,
                pieces: 100,
            },
        ),
        (
            "bulk down, 50 KB pieces (MB per CPU-s)",
            Load::Down {
                connections: 4,
                piece: 50_000,
                pieces: 1000,
            },
        ),
        (
            "bulk up, 1 MB pieces (MB per CPU-s)",
            Load::Up {
                connections: 4,
                piece: 1 << 20,
                pieces: 100,
            },
        ),
        (
            "logins, 1 at a time (per CPU-s)",
            Load::Logins {
                parallel: 1,
                each: 400,
            },
        ),
        (
            "logins, 16 in parallel (per CPU-s)",
            Load::Logins {
                parallel: 16,
                each: 50,
            },
        ),
    ];
    print!("{:<42}", "");
    peers.iter().for_each(|peer| print!("{:>14}", peer.name));
    println!("   mailwicket as a multiple of each");
    for (name, load) in loads {
        let figures = medians(&peers, load);
        report(name, &figures);
    }
    latency(&peers);
    memory(&peers);
}

fn medians(peers: &[Peer], load: Load) -> Vec<f64> {
    let mut figures = vec![Vec::new(); peers.len()];
    for _ in 0..ROUNDS {
        for (peer, figures) in peers.iter().zip(&mut figures) {
            let before = Usage::of(&peer.pids());
            let done = client::run(peer.port, load);
            let spent = Usage::of(&peer.pids()).since(before);
            figures.push(done / spent.as_secs_f64().max(0.001));
        }
    }
    figures.into_iter().map(median).collect()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn report(name: &str, figures: &[f64]) {
    print!("{name:<42}");
    figures.iter().for_each(|figure| print!("{figure:>14.0}"));
    print!("  ");
    figures
        .iter()
        .skip(1)
        .for_each(|figure| print!(" {:>6.2}", figures[0] / figure));
    println!();
}

/// The time from a small command to its answer, median and 99th percentile.
fn latency(peers: &[Peer]) {
    print!("{:<42}", "NOOP and back, p50/p99 (µs)");
    for peer in peers {
        let mut times = client::noops(peer.port, 2000);
        times.sort();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_micros();
        print!("{:>14}", format!("{}/{}", at(0.5), at(0.99)));
    }
    println!();
}

/// Proportional memory of idle sessions that are logged in.
fn memory(peers: &[Peer]) {
    const SESSIONS: usize = 1000;
    print!(
        "{:<42}",
        format!("memory per idle session of {SESSIONS} (KiB)")
    );
    for peer in peers {
        let before = measure::pss(&peer.pids());
        let idle = client::idle(peer.port, SESSIONS);
        let after = measure::settled(|| measure::pss(&peer.pids()), Duration::from_secs(2));
        print!(
            "{:>14.1}",
            after.saturating_sub(before) as f64 / SESSIONS as f64
        );
        drop(idle);
    }
    println!();
}
