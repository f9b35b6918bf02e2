use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

use super::*;

/// A relay under way, seen from both ends.
struct Bench {
    program: DuplexStream,
    provider: DuplexStream,
    relaying: tokio::task::JoinHandle<(Traffic, io::Result<()>)>,
}

impl Bench {
    /// `pipe` is how many octets each socket takes before its reader must read.
    fn start(pipe: usize, reply: &[u8], behind_reply: &[u8], behind_login: &[u8]) -> Self {
        let (program, mut local) = duplex(pipe);
        let (provider, mut upstream) = duplex(pipe);
        let mut opening = Opening {
            reply: Default::default(),
            leftovers: Default::default(),
        };
        opening.reply.push(reply);
        opening.leftovers.push(behind_login);
        let login = LoggedIn::pretended(behind_reply);
        let relaying = async move {
            relay(
                &mut local,
                &mut upstream,
                &opening,
                &login,
                deaf(),
                std::future::pending(),
            )
            .await
        };
        Self {
            program,
            provider,
            relaying: tokio::spawn(relaying),
        }
    }
}

/// Hears nothing.
fn deaf() -> Ear<'static> {
    Box::new(|_| false)
}

/// Bytes that repeat nowhere near, so that loss and disorder show.
fn bytes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

async fn read_all(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).await.expect("bytes");
    all
}

#[tokio::test]
async fn leftovers_of_both_sides_come_first_and_in_order() {
    let mut bench = Bench::start(64, b"a1 OK hi\r\n", b"* 1 EXISTS\r\n", b"a2 NOOP\r\n");
    bench.program.write_all(b"a3 IDLE\r\n").await.expect("sent");
    bench.program.shutdown().await.expect("closed");
    assert_eq!(
        read_all(&mut bench.provider).await,
        b"a2 NOOP\r\na3 IDLE\r\n"
    );
    bench.provider.write_all(b"bye").await.expect("sent");
    bench.provider.shutdown().await.expect("closed");
    assert_eq!(
        read_all(&mut bench.program).await,
        b"a1 OK hi\r\n* 1 EXISTS\r\nbye"
    );
    let (traffic, result) = bench.relaying.await.expect("joined");
    result.expect("a good end");
    assert_eq!(traffic, Traffic { up: 18, down: 15 });
}

#[tokio::test]
async fn every_byte_arrives_once_in_both_directions_whatever_the_sockets_take() {
    for pipe in [1, 7, 4096, 300_000] {
        let up = bytes(if pipe == 1 { 5_000 } else { 700_000 }, 1);
        let down = bytes(up.len() + 11, 2);
        let Bench {
            program,
            provider,
            relaying,
        } = Bench::start(pipe, b"", b"", b"");
        let talk = |stream: DuplexStream, say: Vec<u8>| async move {
            let (mut read, mut write) = split(stream);
            let saying = async {
                write.write_all(&say).await.expect("sent");
                write.shutdown().await.expect("closed");
            };
            tokio::join!(saying, read_all(&mut read)).1
        };
        let (heard_below, heard_above) =
            tokio::join!(talk(program, up.clone()), talk(provider, down.clone()));
        assert!(
            heard_below == down && heard_above == up,
            "with pipes of {pipe}"
        );
        let (traffic, result) = relaying.await.expect("joined");
        result.expect("a good end");
        assert_eq!(
            (traffic.up, traffic.down),
            (up.len() as u64, down.len() as u64)
        );
    }
}

#[tokio::test]
async fn what_a_provider_said_before_it_closed_arrives_although_the_program_reads_late() {
    let mut bench = Bench::start(16, b"+OK\r\n", b"", b"");
    let last = bytes(10_000, 3);
    let provider = async {
        bench.provider.write_all(&last).await.expect("sent");
        bench.provider.shutdown().await.expect("closed");
    };
    let program = async {
        tokio::task::yield_now().await;
        let mut heard = vec![0; 5 + last.len()];
        bench.program.read_exact(&mut heard).await.expect("bytes");
        heard
    };
    let ((), heard) = tokio::join!(provider, program);
    assert_eq!(heard[5..], last);
    assert_eq!(bench.program.read(&mut [0; 1]).await.expect("an end"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_session_lives_while_the_other_side_talks_and_ends_when_it_is_silent() {
    let mut bench = Bench::start(64, b"", b"", b"");
    bench.program.shutdown().await.expect("closed");
    for _ in 0..5 {
        tokio::time::sleep(HALF_OPEN - Duration::from_secs(1)).await;
        bench.provider.write_all(b"still here").await.expect("sent");
        bench.program.read_exact(&mut [0; 10]).await.expect("heard");
    }
    let (_, result) = bench.relaying.await.expect("joined");
    assert_eq!(result.expect_err("silence").kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_writer_within_a_bound() {
    let mut bench = Bench::start(1024, b"", b"", b"");
    let mut sent = 0;
    let flood = bytes(1024, 4);
    let stuck = async {
        loop {
            bench.provider.write_all(&flood).await.expect("sent");
            sent += flood.len();
        }
    };
    let stopped = tokio::time::timeout(Duration::from_millis(300), stuck).await;
    assert!(stopped.is_err());
    let bound = crate::pool::SIZE + 4 * 1024;
    assert!(
        sent > 1024 && sent <= bound,
        "{sent} octets were taken, {bound} at most are allowed"
    );
}

#[tokio::test]
async fn an_ear_hears_what_came_behind_the_login_and_what_follows_until_it_has_enough() {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let (mut provider, mut upstream) = duplex(64);
    let (_program, mut local) = duplex(64);
    let (tell, told) = std::sync::mpsc::channel();
    let ear: Ear<'_> = Box::new(move |said| {
        tell.send(said.to_vec()).expect("heard");
        said != b"two"
    });
    let mut down = Direction {
        ear: Some(ear),
        ..Direction::default()
    };
    down.tell(b"one");
    for words in ["two", "three"] {
        provider.write_all(words.as_bytes()).await.expect("sent");
        assert!(down.poll(&mut cx, &mut upstream, &mut local).is_pending());
    }
    assert_eq!(told.iter().collect::<Vec<_>>(), [b"one", b"two"]);
}

#[tokio::test]
async fn an_idle_relay_holds_no_buffer() {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let (_program, mut local) = duplex(64);
    let (_provider, mut upstream) = duplex(64);
    let mut up = Direction::default();
    assert!(up.poll(&mut cx, &mut local, &mut upstream).is_pending());
    assert!(up.held.is_none());
}

/// A peer that has said its last words and broken off: what it said can be read, then comes the reset; nothing can be written to it.
struct BrokenOff(&'static [u8]);

impl AsyncRead for BrokenOff {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // In two pieces, so that the reset comes in the same turn as words before it.
        let (now, later) = self.0.split_at(self.0.len().div_ceil(2));
        out.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BrokenOff {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_side_that_breaks_off_arrive_although_the_other_still_talks() {
    const WORDS: &[u8] = b"552 too big\r\n421 bye\r\n";
    let (mut program, mut local) = duplex(1024);
    program.write_all(&bytes(500, 5)).await.expect("sent");
    let opening = Opening {
        reply: Default::default(),
        leftovers: Default::default(),
    };
    let login = LoggedIn::pretended(b"");
    let relaying = tokio::spawn(async move {
        let mut upstream = BrokenOff(WORDS);
        let end = std::future::pending();
        relay(&mut local, &mut upstream, &opening, &login, deaf(), end)
            .await
            .1
    });
    assert_eq!(read_all(&mut program).await, WORDS);
    drop(program);
    relaying
        .await
        .expect("joined")
        .expect_err("a broken connection");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_breaks_off_right_after_its_success_is_heard_although_more_was_queued_for_it()
 {
    let (mut program, mut local) = duplex(8);
    let mut opening = Opening {
        reply: Default::default(),
        leftovers: Default::default(),
    };
    opening.reply.push(b"a1 OK hi\r\n");
    opening.leftovers.push(b"a2 SELECT INBOX\r\n");
    let login = LoggedIn::pretended(b"* BYE ");
    let relaying = tokio::spawn(async move {
        let mut upstream = BrokenOff(b"too many\r\n");
        let end = std::future::pending();
        relay(&mut local, &mut upstream, &opening, &login, deaf(), end)
            .await
            .1
    });
    assert_eq!(
        read_all(&mut program).await,
        b"a1 OK hi\r\n* BYE too many\r\n"
    );
    drop(program);
    relaying
        .await
        .expect("joined")
        .expect_err("a broken connection");
}
