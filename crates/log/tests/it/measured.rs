//! What the hot paths cost; to see the figures: `cargo test --release -p aeroedge-log --test it -- --nocapture measured`.
//!
//! The limits are many times what was measured on two cores, so that only a mistake trips them.

use std::time::Duration;

use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, EntryCheck, EntryHash, Seq, TransactionId,
};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{ControlEntry, Role};
use aeroedge_log::entry::{Body, EntryFields, EntryRef, Opener, Sealer, Seen, WriterTag};
use aeroedge_log::head::{Head, verify_all};
use aeroedge_log::history::{History, UnknownChain};
use aeroedge_log::keyring::KeyRing;
use aeroedge_log::keys::{EpochKey, WriterSecret};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::world::{Device, SECRET, rights};

#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement needs a clock and says what it found"
)]
fn timed<T>(what: &str, count: u32, limit_each: Duration, run: impl FnOnce() -> T) -> T {
    let start = std::time::Instant::now();
    let result = run();
    let each = start.elapsed() / count;
    println!("{what:<50} {each:>12.2?} each of {count}");
    assert!(each < limit_each, "{what}: {each:?} each");
    result
}

#[test]
fn entries_and_heads_are_cheap() {
    const COUNT: u32 = 5_000;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let key = EpochKey::from_bytes([9; 32]);
    let secret = WriterSecret::from_bytes([1; 32]);
    // Like one row of a dozen columns: text that compresses a little.
    let changes = b"\x92\x91\x93\xa5loans\x91\xa2id\x9c\xa4date\xa4book\xa2by\xa5until\xa5place\xa3fee\xa7remarks \
        2026-05-04 The Art of Fugue, second edition, lent to a reader in Ampfing until 2026-06-01, shelf 17, fee 0.50 paid in cash"
        .as_slice();
    let mut body = Vec::new();
    let seen = vec![Seen {
        writer: WriterTag([1; 8]),
        seq: Seq(17),
        check: EntryCheck([2; 8]),
    }];
    Body {
        transaction: TransactionId([8; 16]),
        part: 0,
        others: Vec::new(),
        seen,
        changes,
    }
    .encode(&mut body);
    let mut fields = EntryFields {
        context: ContextId([1; 16]),
        compartment: CompartmentId([2; 16]),
        writer: secret.key(),
        seq: Seq(1),
        previous: EntryHash([0; 32]),
        hlc: aeroedge_crdt::hlc::Hlc::from_bits(1),
        epoch: ControlHash([4; 32]),
        schema_version: 7,
        heads: vec![ControlHash([5; 32])],
        more_parts: false,
    };
    let mut sealer = Sealer::new().unwrap();
    let sealed = timed(
        &format!("seal a body of {} bytes", body.len()),
        COUNT,
        Duration::from_micros(150),
        || {
            let mut all = Vec::with_capacity(COUNT as usize);
            for seq in 1..=u64::from(COUNT) {
                fields.seq = Seq(seq);
                let sealed = sealer.seal(&fields, &body, &key, &mut rng).unwrap();
                fields.previous = sealed.hash;
                all.push(sealed);
            }
            all
        },
    );
    println!("  an entry has {} bytes", sealed[0].bytes.len());
    let mut opener = Opener::new().unwrap();
    timed(
        "parse, hash and open it",
        COUNT,
        Duration::from_micros(150),
        || {
            for sealed in &sealed {
                let entry = EntryRef::parse(&sealed.bytes).unwrap();
                assert_eq!(entry.hash(), sealed.hash);
                let opened = opener.open(&entry, &key).unwrap();
                assert_eq!(Body::decode(opened).unwrap().changes, changes);
            }
        },
    );
    let heads = timed("sign a head", 500, Duration::from_millis(1), || {
        (1..=500_u64)
            .map(|seq| {
                Head::sign(
                    CompartmentId([2; 16]),
                    Seq(seq),
                    EntryHash([1; 32]),
                    &secret,
                )
            })
            .collect::<Vec<_>>()
    });
    timed("verify a head alone", 500, Duration::from_millis(2), || {
        assert!(heads.iter().all(|head| head.verify().is_ok()));
    });
    timed(
        "verify a head in batches of 64",
        500,
        Duration::from_millis(1),
        || {
            assert!(heads.chunks(64).all(|heads| verify_all(heads).is_empty()));
        },
    );
}

#[test]
fn hundreds_of_devices_are_read_in_milliseconds() {
    const COUNT: u32 = 300;
    let mut owner = Device::founder(1, Division::Divided);
    let seed = owner.invite(rights(Role::Member, &[]), 2 * COUNT);
    let mut joiner = Device::new(2, owner.history.context());
    joiner.pull(&owner);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    // Chains of ten joins that know each other, a hundred of them side by side.
    let mut entries: Vec<ControlEntry> = owner.history.entries().cloned().collect();
    timed(
        "join, with wraps and a person's epoch",
        COUNT,
        Duration::from_millis(20),
        || {
            for chain in 0..COUNT / 10 {
                let mut history = History::new(owner.history.context());
                for entry in owner.history.entries() {
                    history.insert(entry.clone()).unwrap();
                }
                for link in 0..10 {
                    joiner.secrets = aeroedge_log::secrets::DeviceSecrets::generate(&mut rng);
                    let user =
                        aeroedge_ids::UserId(u128::from(1000 + chain * 10 + link).to_be_bytes());
                    let hlc = joiner.now();
                    let secret = aeroedge_log::invite::Secret::typed(SECRET);
                    let stretch = aeroedge_log::invite::Stretch::FOR_TESTS;
                    let joined = aeroedge_log::context::join(
                        &history,
                        &joiner.secrets,
                        &seed,
                        &secret,
                        stretch,
                        user,
                        hlc,
                        &mut rng,
                    );
                    for entry in joined.unwrap().entries {
                        history.insert(entry.clone()).unwrap();
                        entries.push(entry);
                    }
                }
            }
        },
    );
    let count = entries.len() as u32;
    let bytes: Vec<Vec<u8>> = entries.iter().map(|entry| entry.bytes().to_vec()).collect();
    println!(
        "  {count} control entries, {} bytes",
        bytes.iter().map(Vec::len).sum::<usize>()
    );
    timed(
        "verify a control entry",
        count,
        Duration::from_millis(5),
        || {
            assert!(
                bytes
                    .iter()
                    .all(|bytes| ControlEntry::decode(bytes).is_ok())
            );
        },
    );
    let entries: Vec<_> = timed(
        "decode a stored control entry",
        count,
        Duration::from_millis(1),
        || {
            bytes
                .iter()
                .map(|bytes| ControlEntry::decode_stored(bytes).unwrap())
                .collect()
        },
    );
    let mut history = timed(
        "insert a control entry",
        count,
        Duration::from_millis(1),
        || {
            let mut history = History::new(owner.history.context());
            for entry in &entries {
                history.insert(entry.clone()).unwrap();
            }
            history
        },
    );
    let roster = timed("read the whole history", 1, Duration::from_secs(2), || {
        history.roster().unwrap()
    });
    assert_eq!(roster.members().count(), 1 + COUNT as usize);
    assert!(roster.rejected().is_empty());
    timed("read it again", 1000, Duration::from_millis(1), || {
        for _ in 0..1000 {
            assert_eq!(
                history.roster().unwrap().devices().count(),
                1 + COUNT as usize
            );
        }
    });
    let points: Vec<_> = history
        .entries()
        .step_by(10)
        .map(|entry| [entry.hash()])
        .collect();
    timed(
        "read at an earlier point",
        points.len() as u32,
        Duration::from_millis(200),
        || {
            for point in &points {
                history.roster_at(point).unwrap();
            }
        },
    );
    timed(
        "add one entry and read",
        20,
        Duration::from_millis(200),
        || {
            for _ in 0..20 {
                let hlc = owner.now();
                let entry = aeroedge_log::context::act(
                    &history,
                    &owner.secrets,
                    hlc,
                    aeroedge_log::control::Action::Acknowledge,
                );
                history.insert(entry).unwrap();
                history.roster().unwrap();
            }
        },
    );
    let ring = timed("find all keys as staff", 1, Duration::from_secs(10), || {
        let mut ring = KeyRing::new(&owner.secrets);
        assert_eq!(ring.learn(&roster).len(), 3 + COUNT as usize);
        ring
    });
    timed(
        "find nobody is owed a key",
        1,
        Duration::from_secs(2),
        || assert_eq!(ring.owed(&roster), 0),
    );
    let writer = owner.secrets.writer(owner.history.context()).unwrap().key();
    let everyone = owner.compartment(Audience::Everyone);
    let point = history.writing_point(&ring, writer, everyone).unwrap();
    let claim = aeroedge_log::history::Claim {
        writer,
        compartment: everyone,
        seq: Seq(1),
        epoch: point.epoch,
        heads: point.heads,
    };
    timed("judge an entry", 10_000, Duration::from_micros(500), || {
        for _ in 0..10_000 {
            assert!(history.may_write(&claim, &UnknownChain).is_ok());
        }
    });
}

#[test]
fn ten_thousand_entries_past_three_hundred_removals_are_judged_quickly() {
    const GONE: u32 = 300;
    const ENTRIES: u32 = 10_000;
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), GONE);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let secret = aeroedge_log::invite::Secret::typed(SECRET);
    let mut members = Vec::new();
    for number in 0..GONE {
        let secrets = aeroedge_log::secrets::DeviceSecrets::generate(&mut rng);
        let user = aeroedge_ids::UserId(u128::from(1000 + number).to_be_bytes());
        let hlc = owner.now();
        let stretch = aeroedge_log::invite::Stretch::FOR_TESTS;
        let history = &owner.history;
        let joined = aeroedge_log::context::join(
            history, &secrets, &seed, &secret, stretch, user, hlc, &mut rng,
        );
        let joined = joined.unwrap();
        members.push((user, joined.writer.key()));
        joined
            .entries
            .into_iter()
            .for_each(|entry| owner.insert(entry));
    }
    let removals: Vec<_> = timed(
        "remove a member and read",
        GONE,
        Duration::from_millis(50),
        || {
            members
                .iter()
                .map(|(user, _)| owner.remove(*user).hash())
                .collect()
        },
    );
    let roster = owner.history.roster().unwrap();
    let everyone = owner.compartment(Audience::Everyone);
    let epoch = roster.current_epoch(everyone).unwrap();
    // Each writer's log in turn, each entry of it knowing a little more.
    let claims = (0..ENTRIES).map(|number| {
        let (writer, step) = (number * GONE / ENTRIES, number % (ENTRIES / GONE + 1));
        let known = (step * GONE / (ENTRIES / GONE + 1)) as usize;
        aeroedge_log::history::Claim {
            writer: members[writer as usize].1,
            compartment: everyone,
            seq: Seq(u64::from(step) + 1),
            epoch,
            heads: vec![removals[known]],
        }
    });
    let claims: Vec<_> = claims.collect();
    timed(
        "judge an entry past many removals",
        ENTRIES,
        Duration::from_micros(500),
        || {
            for claim in &claims {
                assert!(owner.history.may_write(claim, &UnknownChain).is_err());
            }
        },
    );
    // A removed member goes on: each such act is read in its place.
    let forged: Vec<_> = (0..50_u8)
        .map(|number| {
            let action = aeroedge_log::control::Action::AcknowledgeCheckpoints(vec![ControlHash(
                [number; 32],
            )]);
            owner.forge(&[removals[100]], 1, action)
        })
        .collect();
    timed(
        "take in an act dated back, and read",
        50,
        Duration::from_millis(100),
        || {
            for entry in forged {
                owner.insert(entry);
                owner.history.roster().unwrap();
            }
        },
    );
}
