//! Carries the frames of one link over one socket until either end closes it or the wire falls silent.
//!
//! Both ends send a sign of life whenever they have said nothing for a while, so silence means a dead wire, and a slow
//! reader at the other end does not look like one.

use std::io;
use std::time::Duration;

use aeroedge_transport::{CloseReason, Ending, IncomingFrames, LinkEnd, OutgoingFrames};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{sleep, timeout};

use crate::handshake::Secured;
use crate::wire::{Item, Opener, Sealer};

/// A sign of life is sent after this much silence of our own.
const BEAT_EVERY: Duration = Duration::from_millis(700);
/// Three signs of life missed: the wire is dead.
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(2_500);
/// How long a closing link may take to say goodbye.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);
/// Frames that go into one write to the socket, in bytes.
const WRITE_SIZE: usize = 256 * 1024;
const READ_SIZE: usize = 256 * 1024;

/// Runs the link to its end.
pub(crate) async fn carry(stream: TcpStream, secured: &Secured, end: LinkEnd) -> CloseReason {
    let ending = end.ending();
    let LinkEnd { outgoing, incoming } = end;
    let (from, to) = stream.into_split();
    let opener = Opener::new(secured.noise.clone());
    let sealer = Sealer::new(secured.noise.clone());
    let writer = tokio::spawn(write(to, sealer, outgoing, ending.clone()));
    read(from, opener, incoming, ending.clone()).await;
    let reason = ending.ended().await;
    // The writer is bounded by the time a farewell may take; a panic in it has already ended the link.
    let _ = writer.await;
    reason
}

async fn read(
    mut from: OwnedReadHalf,
    mut opener: Opener,
    mut incoming: IncomingFrames,
    ending: Ending,
) {
    tokio::select! {
        reason = receive(&mut from, &mut opener, &mut incoming) => ending.end(reason),
        reason = ending.ended() => {
            if matches!(reason, CloseReason::Local(_)) {
                // Bytes left unread when a socket closes would reset it, and our farewell with it.
                let _ = timeout(FAREWELL_WITHIN, tokio::io::copy(&mut from, &mut tokio::io::sink())).await;
            }
        }
    }
}

async fn receive(
    from: &mut OwnedReadHalf,
    opener: &mut Opener,
    incoming: &mut IncomingFrames,
) -> CloseReason {
    let mut buffer = vec![0; READ_SIZE];
    let mut filled = 0;
    let mut items = Vec::new();
    loop {
        match timeout(DEAD_AFTER, from.read(&mut buffer[filled..])).await {
            Err(_) => {
                return CloseReason::Lost(format!(
                    "nothing heard for {} ms",
                    DEAD_AFTER.as_millis()
                ));
            }
            Ok(Err(error)) => return lost(&error),
            Ok(Ok(0)) => return CloseReason::Lost("the connection ended without a goodbye".into()),
            Ok(Ok(length)) => filled += length,
        }
        let opened = opener.open(&buffer[..filled], &mut items);
        for item in items.drain(..) {
            match item {
                Item::Beat => {}
                Item::Farewell(why) => return CloseReason::Remote(why),
                Item::Frame(frame) => {
                    if let Err(reason) = incoming.push(frame).await {
                        return reason;
                    }
                }
            }
        }
        match opened {
            Err(error) => return CloseReason::Violation(error.to_string()),
            Ok(taken) => {
                buffer.copy_within(taken..filled, 0);
                filled -= taken;
            }
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut sealer: Sealer,
    mut outgoing: OutgoingFrames,
    ending: Ending,
) {
    tokio::select! {
        result = send(&mut to, &mut sealer, &mut outgoing) => {
            if let Err(error) = result {
                ending.end(lost(&error));
            }
        }
        () = given_up(&ending) => {}
    }
}

/// Ready when nothing more needs to be said, or when saying it has taken too long.
async fn given_up(ending: &Ending) {
    match ending.ended().await {
        CloseReason::Local(_) | CloseReason::Violation(_) => sleep(FAREWELL_WITHIN).await,
        CloseReason::Remote(_) | CloseReason::Lost(_) => {}
    }
}

async fn send(
    to: &mut OwnedWriteHalf,
    sealer: &mut Sealer,
    outgoing: &mut OutgoingFrames,
) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        match timeout(BEAT_EVERY, outgoing.next_batch(WRITE_SIZE, &mut batch)).await {
            Err(_) => sealer.beat(),
            Ok(Ok(())) => {}
            Ok(Err(reason)) => {
                if let CloseReason::Local(why) | CloseReason::Violation(why) = &reason {
                    sealer.farewell(why);
                    flush(to, sealer).await?;
                }
                return to.shutdown().await;
            }
        }
        for frame in batch.drain(..) {
            sealer.frame(&frame);
            if sealer.sealed.len() >= WRITE_SIZE {
                to.write_all(&sealer.sealed).await?;
                sealer.sealed.clear();
            }
        }
        flush(to, sealer).await?;
    }
}

async fn flush(to: &mut OwnedWriteHalf, sealer: &mut Sealer) -> io::Result<()> {
    sealer.finish();
    to.write_all(&sealer.sealed).await?;
    sealer.sealed.clear();
    sealer.sealed.shrink_to(2 * WRITE_SIZE);
    Ok(())
}

fn lost(error: &io::Error) -> CloseReason {
    CloseReason::Lost(format!("the connection broke: {error}"))
}
