//! The test vectors of `docs/protocol.md`, which were computed by another program.

use aeroedge_ids::{ContextId, ControlHash, EntryCheck, Seq, WriterKey};
use sha2::{Digest, Sha256};

use crate::event::Frontier;
use crate::frame::Frame;
use crate::greet::{Role, Side, Transcript};
use crate::{control_sync, entry_sync};

fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn transcript() -> Transcript {
    Transcript::new([0x11; 32], Side::Dialler, [0x22; 32], [0x33; 32])
}

#[test]
fn both_sides_make_the_same_transcript() {
    let acceptor = Transcript::new([0x11; 32], Side::Acceptor, [0x33; 32], [0x22; 32]);
    assert_eq!(transcript(), acceptor);
}

#[test]
fn tags_and_proofs_are_as_documented() {
    let tag = |side, role| hex(transcript().tag(&[0x44; 32], side, role));
    assert_eq!(
        tag(Side::Dialler, Role::Member),
        "42b2aa839ff4f7d5fc7c7a77efaaf425"
    );
    assert_eq!(
        tag(Side::Acceptor, Role::Member),
        "f059db7f293244c1f6d29dab1a05146c"
    );
    assert_eq!(
        tag(Side::Dialler, Role::Joiner),
        "d108e3e9849baf09ae1b88df9e55969f"
    );
    assert_eq!(
        tag(Side::Acceptor, Role::Host),
        "799986f848e96aaf4d141f0793cacda5"
    );
    assert_eq!(
        hex(transcript().salt()),
        "38310fa0305444034b1025d8b9127b0c458e218f2896f5c8df44afa3717c2fef"
    );
    let message = transcript().proof_message(Side::Dialler, ContextId([0x55; 16]));
    assert_eq!(
        hex(Sha256::digest(message)),
        "e4d7b7a3463611d32c7e9f3e5a8463559415ba56645c0c3940f7db11ad7e9ce1"
    );
}

#[test]
fn digests_are_as_documented() {
    let history = [ControlHash([2; 32]), ControlHash([1; 32])];
    assert_eq!(
        hex(control_sync::digest(&history)),
        "36bc5efa366d451f7e5a82e8c95f5267eeb3bbdb981a29c75dbe6426f6831eac"
    );
    assert_eq!(
        hex(control_sync::digest(&[])),
        "3b5f42e56c73aa5a9a72137db0fcfefc23bdd9e4656a353dfeb0e94721c3f5bd"
    );
    let buckets = control_sync::buckets(&transcript().salt(), &history);
    assert_eq!(hex(buckets[1]), "9805d86705c837ba");
    assert_eq!(buckets[3], [0; 8]);
    let mut frontier = Frontier::from([
        (WriterKey([1; 32]), Seq(7)),
        (WriterKey([2; 32]), Seq(70_000)),
        (WriterKey([3; 32]), Seq(0)),
    ]);
    frontier.mark(WriterKey([1; 32]), Seq(7), EntryCheck([6; 8]));
    assert_eq!(
        hex(entry_sync::digest(&frontier)),
        "0347fe831167e61cc375cfb2179619e5ed139937bbe16efb7df526b7d85a70db"
    );
}

#[test]
fn frames_are_as_documented() {
    let hello = Frame::Hello {
        version: 1,
        nonce: [0x22; 32],
        window: 4 << 20,
    };
    assert_eq!(
        hex(hello.encode()),
        format!("940101c420{}ce00400000", "22".repeat(32))
    );
    assert_eq!(hex(Frame::Ping.encode()), "9104");
    let received = Frame::Received {
        batch: 300,
        declined: Vec::new(),
    };
    assert_eq!(hex(received.encode()), "9321cd012cc400");
}
