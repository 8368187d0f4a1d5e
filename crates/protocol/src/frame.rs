//! The session frames: one MessagePack array each, its first element the frame's number.
//!
//! Invariant: `decode` accepts nothing that a session may not act upon (every length, count and order is checked here),
//! and `encode` of what `decode` gave is the same bytes.

use aeroedge_ids::{CompartmentId, ControlHash, DeviceKey, EntryCheck, EntryHash, Seq, WriterKey};

use crate::event::{Frontier, Run, Signature, WireHead};
use crate::limits::{
    COMPARTMENTS_MAX, CONTROL_ENTRY_BYTES_MAX, ENTRIES_PER_FRAME_MAX, ENTRY_BYTES_MAX,
    FRAME_BYTES_MAX, HISTORY_MAX, TAGS_MAX, WRITERS_MAX,
};
use crate::wire::{Reader, WireError, Writer};

/// A context as its sender numbers it on one link: the position of a tag in the sender's greeting. So no frame ever
/// names a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel(pub u16);

/// Proof towards a peer that a link key is held, for one link and one direction.
pub type Tag = [u8; 16];

/// Number of buckets into which control hashes fall, by their first byte.
pub const BUCKETS: usize = 256;

/// The first bytes of a digest over each bucket.
pub type Buckets = [[u8; 8]; BUCKETS];

/// One message of the session. `docs/protocol.md` describes each in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First frame of each end.
    Hello {
        /// Version of these frames.
        version: u16,
        /// Random, new for every link.
        nonce: [u8; 32],
        /// Bytes of entries that the sender of this frame takes in before it acknowledges.
        window: u64,
    },
    /// Second frame of each end: strictly rising tags, padding among them.
    Greet {
        /// The tags.
        tags: Vec<Tag>,
    },
    /// Last frame of a link.
    Close {
        /// A [`crate::CloseReason`].
        code: u16,
    },
    /// Nothing to say; the link lives.
    Ping,
    /// Who the sender is in one context.
    Prove {
        /// The context.
        channel: Channel,
        /// The sender's device.
        device: DeviceKey,
        /// Over the message of [`crate::Transcript::proof_message`].
        signature: Signature,
    },
    /// One context is no longer spoken of.
    Withdraw {
        /// The context.
        channel: Channel,
        /// An [`crate::EndReason`].
        code: u16,
    },
    /// Digest of all control entries held.
    ControlDigest {
        /// The context.
        channel: Channel,
        /// Over the sorted hashes.
        digest: [u8; 32],
    },
    /// The digests differed: a digest for each bucket.
    ControlBuckets {
        /// The context.
        channel: Channel,
        /// Keyed by the link.
        buckets: Box<Buckets>,
    },
    /// Every control hash the sender holds in the buckets that differed.
    ControlHave {
        /// The context.
        channel: Channel,
        /// The hashes, strictly rising.
        hashes: Vec<ControlHash>,
    },
    /// Control entries the receiver lacks, parents first. The next may be sent after `ControlReceived`.
    ControlEntries {
        /// The context.
        channel: Channel,
        /// The entries, at least one.
        entries: Vec<Vec<u8>>,
    },
    /// The last `ControlEntries` are durable.
    ControlReceived {
        /// The context.
        channel: Channel,
    },
    /// Digests of the frontiers of compartments that the sender holds and lets the receiver read.
    Digests {
        /// The context.
        channel: Channel,
        /// Compartments, strictly rising, with the digest of the vouched frontier.
        digests: Vec<(CompartmentId, [u8; 32])>,
    },
    /// The digests of a compartment differed: the frontier itself.
    Frontier {
        /// The context.
        channel: Channel,
        /// The compartment.
        compartment: CompartmentId,
        /// What the sender holds and can vouch for.
        frontier: Frontier,
    },
    /// Entries the receiver lacks, in the sender's order of arrival.
    Entries {
        /// The context.
        channel: Channel,
        /// The compartment.
        compartment: CompartmentId,
        /// Rises by one with every such frame of the link, from 1.
        batch: u64,
        /// The runs, at least one.
        runs: Vec<Run>,
    },
    /// A batch is durable at its receiver and its bytes may be sent again in others.
    Received {
        /// The batch.
        batch: u64,
        /// Writers of which the receiver wants no more on this link, strictly rising.
        declined: Vec<WriterKey>,
    },
    /// The sender has taken these entries in from elsewhere: the receiver need not send them.
    Advance {
        /// The context.
        channel: Channel,
        /// The compartment.
        compartment: CompartmentId,
        /// Writers that moved.
        changed: Frontier,
    },
    /// Send nothing of a compartment for the present, or go on.
    Pause {
        /// The context.
        channel: Channel,
        /// The compartment.
        compartment: CompartmentId,
        /// Whether to pause.
        paused: bool,
    },
}

mod number {
    pub(super) const HELLO: u64 = 1;
    pub(super) const GREET: u64 = 2;
    pub(super) const CLOSE: u64 = 3;
    pub(super) const PING: u64 = 4;
    pub(super) const PROVE: u64 = 10;
    pub(super) const WITHDRAW: u64 = 11;
    pub(super) const CONTROL_DIGEST: u64 = 20;
    pub(super) const CONTROL_BUCKETS: u64 = 21;
    pub(super) const CONTROL_HAVE: u64 = 22;
    pub(super) const CONTROL_ENTRIES: u64 = 23;
    pub(super) const CONTROL_RECEIVED: u64 = 24;
    pub(super) const DIGESTS: u64 = 30;
    pub(super) const FRONTIER: u64 = 31;
    pub(super) const ENTRIES: u64 = 32;
    pub(super) const RECEIVED: u64 = 33;
    pub(super) const ADVANCE: u64 = 34;
    pub(super) const PAUSE: u64 = 35;
    // 40 to 49 are reserved for attachments by hash, 50 to 59 for checkpoints.
}

/// What a frame turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A frame this program knows.
    Known(Frame),
    /// A frame with a number this program does not know; its content was not looked at.
    Unknown(u64),
}

/// The bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`FRAME_BYTES_MAX`], or a list or entry in it beyond its bound.
    #[error("frame is larger than the protocol allows")]
    Oversized,
    /// Something is not what it must be.
    #[error("frame could not be read")]
    Malformed(#[from] WireError),
}

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello {
                version,
                nonce,
                window,
            } => {
                let mut writer = begin(number::HELLO, 4, 0);
                writer.uint(u64::from(*version));
                writer.bin(nonce);
                writer.uint(*window);
                writer.finish()
            }
            Self::Greet { tags } => {
                let mut writer = begin(number::GREET, 2, tags.len() * 16);
                writer.bin_header(tags.len() * 16);
                for tag in tags {
                    writer.raw(tag);
                }
                writer.finish()
            }
            Self::Close { code } => {
                let mut writer = begin(number::CLOSE, 2, 0);
                writer.uint(u64::from(*code));
                writer.finish()
            }
            Self::Ping => begin(number::PING, 1, 0).finish(),
            Self::Prove {
                channel,
                device,
                signature,
            } => {
                let mut writer = begin_channel(number::PROVE, 4, *channel, 0);
                writer.bin(device.as_bytes());
                writer.bin(signature);
                writer.finish()
            }
            Self::Withdraw { channel, code } => {
                let mut writer = begin_channel(number::WITHDRAW, 3, *channel, 0);
                writer.uint(u64::from(*code));
                writer.finish()
            }
            Self::ControlDigest { channel, digest } => {
                let mut writer = begin_channel(number::CONTROL_DIGEST, 3, *channel, 0);
                writer.bin(digest);
                writer.finish()
            }
            Self::ControlBuckets { channel, buckets } => {
                let mut writer = begin_channel(number::CONTROL_BUCKETS, 3, *channel, BUCKETS * 8);
                writer.bin(buckets.as_flattened());
                writer.finish()
            }
            Self::ControlHave { channel, hashes } => {
                let mut writer =
                    begin_channel(number::CONTROL_HAVE, 3, *channel, hashes.len() * 32);
                writer.bin_header(hashes.len() * 32);
                for hash in hashes {
                    writer.raw(hash.as_bytes());
                }
                writer.finish()
            }
            Self::ControlEntries { channel, entries } => {
                let bytes = entries.iter().map(|entry| entry.len() + 5).sum();
                let mut writer = begin_channel(number::CONTROL_ENTRIES, 3, *channel, bytes);
                writer.array(entries.len());
                for entry in entries {
                    writer.bin(entry);
                }
                writer.finish()
            }
            Self::ControlReceived { channel } => {
                begin_channel(number::CONTROL_RECEIVED, 2, *channel, 0).finish()
            }
            Self::Digests { channel, digests } => {
                let mut writer = begin_channel(number::DIGESTS, 3, *channel, digests.len() * 48);
                writer.bin_header(digests.len() * 48);
                for (compartment, digest) in digests {
                    writer.raw(compartment.as_bytes());
                    writer.raw(digest);
                }
                writer.finish()
            }
            Self::Frontier {
                channel,
                compartment,
                frontier,
            } => {
                let mut writer = begin_channel(number::FRONTIER, 4, *channel, frontier.len() * 48);
                writer.bin(compartment.as_bytes());
                write_frontier(&mut writer, frontier);
                writer.finish()
            }
            Self::Entries {
                channel,
                compartment,
                batch,
                runs,
            } => {
                let bytes = runs.iter().map(Run::cost).sum();
                let mut writer = begin_channel(number::ENTRIES, 5, *channel, bytes);
                writer.bin(compartment.as_bytes());
                writer.uint(*batch);
                writer.array(runs.len());
                for run in runs {
                    write_run(&mut writer, run);
                }
                writer.finish()
            }
            Self::Received { batch, declined } => {
                let mut writer = begin(number::RECEIVED, 3, declined.len() * 32);
                writer.uint(*batch);
                writer.bin_header(declined.len() * 32);
                for key in declined {
                    writer.raw(key.as_bytes());
                }
                writer.finish()
            }
            Self::Pause {
                channel,
                compartment,
                paused,
            } => {
                let mut writer = begin_channel(number::PAUSE, 4, *channel, 0);
                writer.bin(compartment.as_bytes());
                writer.uint(u64::from(*paused));
                writer.finish()
            }
            Self::Advance {
                channel,
                compartment,
                changed,
            } => {
                let mut writer = begin_channel(number::ADVANCE, 4, *channel, changed.len() * 48);
                writer.bin(compartment.as_bytes());
                write_frontier(&mut writer, changed);
                writer.finish()
            }
        }
    }

    /// Reads one frame. Never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, FrameError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::Oversized);
        }
        let mut reader = Reader::new(bytes);
        let length = reader.array()?;
        let number = reader.uint()?;
        let (expected, parse): (usize, Parse) = match number {
            number::HELLO => (4, read_hello),
            number::GREET => (2, read_greet),
            number::CLOSE => (2, |reader| {
                Ok(Self::Close {
                    code: small(reader)?,
                })
            }),
            number::PING => (1, |_| Ok(Self::Ping)),
            number::PROVE => (4, read_prove),
            number::WITHDRAW => (3, |reader| {
                Ok(Self::Withdraw {
                    channel: channel(reader)?,
                    code: small(reader)?,
                })
            }),
            number::CONTROL_DIGEST => (3, |reader| {
                Ok(Self::ControlDigest {
                    channel: channel(reader)?,
                    digest: reader.bin_of()?,
                })
            }),
            number::CONTROL_BUCKETS => (3, read_control_buckets),
            number::CONTROL_HAVE => (3, |reader| {
                Ok(Self::ControlHave {
                    channel: channel(reader)?,
                    hashes: rising(reader, HISTORY_MAX, ControlHash)?,
                })
            }),
            number::CONTROL_ENTRIES => (3, read_control_entries),
            number::CONTROL_RECEIVED => (2, |reader| {
                Ok(Self::ControlReceived {
                    channel: channel(reader)?,
                })
            }),
            number::DIGESTS => (3, read_digests),
            number::FRONTIER => (4, |reader| {
                let (channel, compartment, frontier) = read_frontier_of(reader)?;
                Ok(Self::Frontier {
                    channel,
                    compartment,
                    frontier,
                })
            }),
            number::ENTRIES => (5, read_entries),
            number::RECEIVED => (3, |reader| {
                Ok(Self::Received {
                    batch: reader.uint()?,
                    declined: rising(reader, WRITERS_MAX, WriterKey)?,
                })
            }),
            number::ADVANCE => (4, |reader| {
                let (channel, compartment, changed) = read_frontier_of(reader)?;
                Ok(Self::Advance {
                    channel,
                    compartment,
                    changed,
                })
            }),
            number::PAUSE => (4, read_pause),
            other => return Ok(Decoded::Unknown(other)),
        };
        if length != expected {
            return Err(WireError("another number of elements for this frame").into());
        }
        let frame = parse(&mut reader)?;
        reader.end()?;
        Ok(Decoded::Known(frame))
    }
}

/// Reads what follows a frame's number.
type Parse = fn(&mut Reader<'_>) -> Result<Frame, FrameError>;

fn begin(number: u64, elements: usize, bytes: usize) -> Writer {
    let mut writer = Writer::with_capacity(bytes + 128);
    writer.array(elements);
    writer.uint(number);
    writer
}

fn begin_channel(number: u64, elements: usize, channel: Channel, bytes: usize) -> Writer {
    let mut writer = begin(number, elements, bytes);
    writer.uint(u64::from(channel.0));
    writer
}

fn write_frontier(writer: &mut Writer, frontier: &Frontier) {
    writer.bin_header(frontier.len() * 48);
    for (key, seq) in frontier {
        writer.raw(key.as_bytes());
        writer.raw(&seq.0.to_be_bytes());
        writer.raw(&frontier.check(key).unwrap_or(EntryCheck([0; 8])).0);
    }
}

fn write_run(writer: &mut Writer, run: &Run) {
    writer.array(4);
    writer.bin(run.writer.as_bytes());
    writer.uint(run.first.0);
    writer.array(run.entries.len());
    for entry in &run.entries {
        writer.bin(entry);
    }
    match &run.head {
        None => writer.nil(),
        Some(head) => {
            // Its seq is that of the last entry of the run and is not repeated.
            writer.array(2);
            writer.bin(head.hash.as_bytes());
            writer.bin(&head.signature);
        }
    }
}

fn small(reader: &mut Reader<'_>) -> Result<u16, WireError> {
    u16::try_from(reader.uint()?).map_err(|_| WireError("an integer below 65,536"))
}

fn channel(reader: &mut Reader<'_>) -> Result<Channel, WireError> {
    small(reader).map(Channel)
}

fn read_hello(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    Ok(Frame::Hello {
        version: small(reader)?,
        nonce: reader.bin_of()?,
        window: reader.uint()?,
    })
}

fn read_greet(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    let tags = rising(reader, TAGS_MAX, |tag: [u8; 16]| tag)?;
    Ok(Frame::Greet { tags })
}

fn read_prove(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    Ok(Frame::Prove {
        channel: channel(reader)?,
        device: DeviceKey(reader.bin_of()?),
        signature: reader.bin_of()?,
    })
}

fn read_control_buckets(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    let channel = channel(reader)?;
    let bytes = reader.bin()?;
    let (chunks, rest) = bytes.as_chunks::<8>();
    let buckets: Box<Buckets> = chunks
        .to_vec()
        .into_boxed_slice()
        .try_into()
        .map_err(|_| WireError("256 digests of 8 bytes"))?;
    if !rest.is_empty() {
        return Err(WireError("256 digests of 8 bytes").into());
    }
    Ok(Frame::ControlBuckets { channel, buckets })
}

fn read_control_entries(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    let channel = channel(reader)?;
    let entries = read_blobs(reader, CONTROL_ENTRY_BYTES_MAX, ENTRIES_PER_FRAME_MAX)?;
    Ok(Frame::ControlEntries { channel, entries })
}

fn read_digests(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    let channel = channel(reader)?;
    let digests = rising(reader, COMPARTMENTS_MAX, |both: [u8; 48]| both)?;
    let mut pairs = Vec::with_capacity(digests.len());
    for both in digests {
        let (compartment, digest) = both.split_at(16);
        let (Ok(compartment), Ok(digest)) = (compartment.try_into(), digest.try_into()) else {
            return Err(WireError("a compartment and a digest").into());
        };
        pairs.push((CompartmentId(compartment), digest));
    }
    if pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
        Ok(Frame::Digests {
            channel,
            digests: pairs,
        })
    } else {
        Err(WireError("strictly rising compartments").into())
    }
}

fn read_frontier_of(
    reader: &mut Reader<'_>,
) -> Result<(Channel, CompartmentId, Frontier), FrameError> {
    let channel = channel(reader)?;
    let compartment = CompartmentId(reader.bin_of()?);
    let mut frontier = Frontier::new();
    for item in rising(reader, WRITERS_MAX, |item: [u8; 48]| item)? {
        let (key, rest) = item.split_at(32);
        let (seq, check) = rest.split_at(8);
        let (Ok(key), Ok(seq), Ok(check)) = (key.try_into(), seq.try_into(), check.try_into())
        else {
            return Err(WireError("a writer, a seq and a check").into());
        };
        let (key, seq, check) = (WriterKey(key), u64::from_be_bytes(seq), EntryCheck(check));
        // The greatest number is kept free so that the one after a seq always exists.
        if seq == 0 || seq == u64::MAX || frontier.insert(key, Seq(seq)).is_some() {
            return Err(WireError("one position above zero for each writer").into());
        }
        if check != EntryCheck([0; 8]) {
            frontier.mark(key, Seq(seq), check);
        }
    }
    Ok((channel, compartment, frontier))
}

fn read_pause(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    Ok(Frame::Pause {
        channel: channel(reader)?,
        compartment: CompartmentId(reader.bin_of()?),
        paused: match reader.uint()? {
            0 => false,
            1 => true,
            _ => return Err(WireError("0 or 1").into()),
        },
    })
}

fn read_entries(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    let channel = channel(reader)?;
    let compartment = CompartmentId(reader.bin_of()?);
    let batch = reader.uint()?;
    let count = reader.array()?;
    if count == 0 {
        return Err(WireError("at least one run").into());
    }
    let mut left = ENTRIES_PER_FRAME_MAX;
    let mut runs = Vec::new();
    for _ in 0..count {
        let run = read_run(reader, left)?;
        left -= run.entries.len();
        runs.push(run);
    }
    Ok(Frame::Entries {
        channel,
        compartment,
        batch,
        runs,
    })
}

fn read_run(reader: &mut Reader<'_>, entries_max: usize) -> Result<Run, FrameError> {
    reader.array_of(4)?;
    let writer = WriterKey(reader.bin_of()?);
    let first = reader.uint()?;
    let entries = read_blobs(reader, ENTRY_BYTES_MAX, entries_max)?;
    let last = first
        .checked_add(entries.len() as u64)
        .filter(|_| first > 0)
        .ok_or(WireError("a seq from 1 up"))?
        - 1;
    let head = if reader.nil() {
        None
    } else {
        reader.array_of(2)?;
        Some(WireHead {
            seq: Seq(last),
            hash: EntryHash(reader.bin_of()?),
            signature: reader.bin_of()?,
        })
    };
    Ok(Run {
        writer,
        first: Seq(first),
        entries,
        head,
    })
}

/// One or more byte strings, none of them empty.
fn read_blobs(
    reader: &mut Reader<'_>,
    bytes_max: usize,
    count_max: usize,
) -> Result<Vec<Vec<u8>>, FrameError> {
    let count = reader.array()?;
    if count == 0 {
        return Err(WireError("at least one entry").into());
    }
    if count > count_max {
        return Err(FrameError::Oversized);
    }
    let mut blobs = Vec::new();
    for _ in 0..count {
        let blob = reader.bin()?;
        if blob.is_empty() {
            return Err(WireError("an entry that is not empty").into());
        }
        if blob.len() > bytes_max {
            return Err(FrameError::Oversized);
        }
        blobs.push(blob.to_vec());
    }
    Ok(blobs)
}

/// A byte string cut into items of one length, each greater than the one before.
fn rising<const N: usize, T>(
    reader: &mut Reader<'_>,
    count_max: usize,
    make: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, FrameError> {
    let (items, rest) = reader.bin()?.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(WireError("whole items").into());
    }
    if items.len() > count_max {
        return Err(FrameError::Oversized);
    }
    if !items.is_sorted_by(|a, b| a < b) {
        return Err(WireError("strictly rising items").into());
    }
    Ok(items.iter().map(|item| make(*item)).collect())
}
