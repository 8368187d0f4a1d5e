//! The frame codec: what it writes it reads, what it reads it would have written, and garbage is an error.

use aeroedge_ids::{CompartmentId, ControlHash, DeviceKey, EntryCheck, EntryHash, Seq, WriterKey};
use aeroedge_protocol::frame::{Channel, Decoded, FrameError};
use aeroedge_protocol::limits::{ENTRY_BYTES_MAX, FRAME_BYTES_MAX};
use aeroedge_protocol::{Frame, Frontier, Run, WireHead};
use proptest::prelude::*;

fn examples() -> Vec<Frame> {
    let channel = Channel(300);
    let compartment = CompartmentId([4; 16]);
    let mut frontier = Frontier::from([
        (WriterKey([1; 32]), Seq(7)),
        (WriterKey([2; 32]), Seq(70_000)),
    ]);
    frontier.mark(WriterKey([3; 32]), Seq(9), EntryCheck([5; 8]));
    let run = |first, head| Run {
        writer: WriterKey([6; 32]),
        first: Seq(first),
        entries: vec![vec![1; 3], vec![2; 300]],
        head,
    };
    let head = WireHead {
        seq: Seq(10),
        hash: EntryHash([8; 32]),
        signature: [9; 64],
    };
    vec![
        Frame::Hello {
            version: 1,
            nonce: [7; 32],
            window: 4 << 20,
        },
        Frame::Greet {
            tags: vec![[1; 16], [2; 16], [3; 16], [4; 16]],
        },
        Frame::Close { code: 3 },
        Frame::Ping,
        Frame::Prove {
            channel,
            device: DeviceKey([5; 32]),
            signature: [6; 64],
        },
        Frame::Withdraw { channel, code: 2 },
        Frame::ControlDigest {
            channel,
            digest: [7; 32],
        },
        Frame::ControlBuckets {
            channel,
            buckets: Box::new([[8; 8]; 256]),
        },
        Frame::ControlHave {
            channel,
            hashes: vec![ControlHash([1; 32]), ControlHash([2; 32])],
        },
        Frame::ControlHave {
            channel,
            hashes: vec![],
        },
        Frame::ControlEntries {
            channel,
            entries: vec![vec![1], vec![2; 70_000]],
        },
        Frame::ControlReceived { channel },
        Frame::Digests {
            channel,
            digests: vec![(compartment, [9; 32])],
        },
        Frame::Frontier {
            channel,
            compartment,
            frontier: frontier.clone(),
        },
        Frame::Entries {
            channel,
            compartment,
            batch: 1,
            runs: vec![run(9, Some(head)), run(11, None)],
        },
        Frame::Received {
            batch: 1,
            declined: vec![WriterKey([1; 32])],
        },
        Frame::Advance {
            channel,
            compartment,
            changed: frontier,
        },
        Frame::Pause {
            channel,
            compartment,
            paused: true,
        },
    ]
}

#[test]
fn every_frame_round_trips() {
    for frame in examples() {
        assert_eq!(Frame::decode(&frame.encode()), Ok(Decoded::Known(frame)));
    }
}

#[test]
fn every_truncation_and_every_extension_is_an_error() {
    for frame in examples() {
        let bytes = frame.encode();
        for length in (0..bytes.len()).take(600) {
            assert!(
                Frame::decode(&bytes[..length]).is_err(),
                "{frame:?} cut at {length}"
            );
        }
        assert!(Frame::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let mut run = Run {
        writer: WriterKey([1; 32]),
        first: Seq(1),
        entries: vec![vec![0; ENTRY_BYTES_MAX]],
        head: None,
    };
    let frame = |run: &Run| Frame::Entries {
        channel: Channel(0),
        compartment: CompartmentId([0; 16]),
        batch: 1,
        runs: vec![run.clone()],
    };
    assert!(Frame::decode(&frame(&run).encode()).is_ok());
    run.entries[0].push(0);
    assert_eq!(
        Frame::decode(&frame(&run).encode()),
        Err(FrameError::Oversized)
    );
    run.entries = vec![vec![1]; 70_000];
    assert_eq!(
        Frame::decode(&frame(&run).encode()),
        Err(FrameError::Oversized)
    );
    assert_eq!(
        Frame::decode(&vec![0x91; FRAME_BYTES_MAX + 1]),
        Err(FrameError::Oversized)
    );
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let frontier = |seq| Frame::Frontier {
        channel: Channel(0),
        compartment: CompartmentId([0; 16]),
        frontier: Frontier::from([(WriterKey([1; 32]), Seq(seq))]),
    };
    assert!(Frame::decode(&frontier(1).encode()).is_ok());
    assert!(Frame::decode(&frontier(0).encode()).is_err());
    assert!(Frame::decode(&frontier(u64::MAX).encode()).is_err());
    for (first, good) in [
        (0, false),
        (1, true),
        (u64::MAX - 2, true),
        (u64::MAX - 1, false),
        (u64::MAX, false),
    ] {
        let run = Run {
            writer: WriterKey([1; 32]),
            first: Seq(first),
            entries: vec![vec![1], vec![2]],
            head: None,
        };
        let frame = Frame::Entries {
            channel: Channel(0),
            compartment: CompartmentId([0; 16]),
            batch: 1,
            runs: vec![run],
        };
        assert_eq!(Frame::decode(&frame.encode()).is_ok(), good, "{first}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Decoded::Known(frame)) = Frame::decode(&bytes) {
            prop_assert_eq!(frame.encode(), bytes);
        }
    }

    #[test]
    fn damaged_frames_are_errors_or_canonical(
        which in 0..18_usize,
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = examples()[which].encode();
        for (position, value) in damage {
            let position = usize::from(position) % bytes.len().min(400);
            bytes[position] = value;
        }
        if let Ok(Decoded::Known(frame)) = Frame::decode(&bytes) {
            prop_assert_eq!(frame.encode(), bytes);
        }
    }
}
