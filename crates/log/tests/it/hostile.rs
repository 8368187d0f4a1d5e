//! Bytes from strangers: any change is noticed, nothing panics, nothing grows without bound.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, EntryHash, Seq, TransactionId};
use aeroedge_log::compartment::Division;
use aeroedge_log::context::offer_device;
use aeroedge_log::control::{Action, AddDevice, ControlEntry, ControlError, Join, Role};
use aeroedge_log::entry::{
    Body, ChainError, ChainPosition, EntryError, EntryFields, EntryRef, OpenError, Opener,
    SealError, SealedEntry, Sealer,
};
use aeroedge_log::head::Head;
use aeroedge_log::history::{InsertError, Inserted};
use aeroedge_log::invite::{InviteLink, Secret};
use aeroedge_log::keys::{EpochKey, WriterSecret};
use aeroedge_log::roster::Rejection;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::world::{Device, SECRET, rights};

fn fields(seq: u64, previous: EntryHash) -> EntryFields {
    EntryFields {
        context: ContextId([1; 16]),
        compartment: CompartmentId([2; 16]),
        writer: WriterSecret::from_bytes([3; 32]).key(),
        seq: Seq(seq),
        previous,
        hlc: Hlc::from_bits(0x0123_4567_89ab_cdef),
        epoch: ControlHash([4; 32]),
        schema_version: 7,
        heads: vec![ControlHash([5; 32]), ControlHash([6; 32])],
        more_parts: false,
    }
}

fn seal(changes: &[u8]) -> SealedEntry {
    let mut body = Vec::new();
    Body {
        transaction: TransactionId([8; 16]),
        part: 0,
        others: Vec::new(),
        seen: Vec::new(),
        changes,
    }
    .encode(&mut body);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    Sealer::new()
        .unwrap()
        .seal(
            &fields(1, EntryHash([0; 32])),
            &body,
            &EpochKey::from_bytes([9; 32]),
            &mut rng,
        )
        .unwrap()
}

#[test]
fn an_entry_opens_to_what_was_sealed() {
    for changes in [
        b"short".to_vec(),
        vec![b'a'; 10_000],
        (0..=255).cycle().take(100_000).collect(),
    ] {
        let sealed = seal(&changes);
        let entry = EntryRef::parse(&sealed.bytes).unwrap();
        assert_eq!(entry.hash(), sealed.hash);
        let expected = fields(1, EntryHash([0; 32]));
        assert_eq!(
            (
                entry.context(),
                entry.compartment(),
                entry.writer(),
                entry.seq(),
                entry.previous()
            ),
            (
                expected.context,
                expected.compartment,
                expected.writer,
                expected.seq,
                expected.previous
            )
        );
        assert_eq!(
            (entry.hlc(), entry.epoch(), entry.schema_version()),
            (expected.hlc, expected.epoch, 7)
        );
        assert_eq!(entry.heads().collect::<Vec<_>>(), expected.heads);
        let mut opener = Opener::new().unwrap();
        let body =
            Body::decode(opener.open(&entry, &EpochKey::from_bytes([9; 32])).unwrap()).unwrap();
        assert_eq!(body.changes, changes);
        let wrong = opener
            .open(&entry, &EpochKey::from_bytes([10; 32]))
            .unwrap_err();
        assert!(matches!(wrong, OpenError::NotAuthentic));
    }
}

#[test]
fn compression_is_used_only_where_it_helps() {
    let noise: Vec<u8> = {
        let mut bytes = vec![0; 1000];
        rand::Rng::fill_bytes(&mut ChaCha20Rng::seed_from_u64(5), &mut bytes);
        bytes
    };
    assert!(seal(&noise).bytes.len() > 1000);
    assert!(seal(&[b'a'; 1000]).bytes.len() < 400);
}

#[test]
fn any_changed_bit_of_an_entry_is_refused() {
    let sealed =
        seal(b"some changes that are worth protecting, worth protecting, worth protecting");
    let key = EpochKey::from_bytes([9; 32]);
    let mut opener = Opener::new().unwrap();
    for bit in 0..sealed.bytes.len() * 8 {
        let mut changed = sealed.bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(entry) = EntryRef::parse(&changed) {
            assert!(opener.open(&entry, &key).is_err(), "bit {bit} opened");
            assert_ne!(entry.hash(), sealed.hash);
        }
    }
}

#[test]
fn an_entry_cut_anywhere_is_refused() {
    let mut bytes = seal(b"changes").bytes;
    for length in 0..bytes.len() {
        assert!(
            EntryRef::parse(&bytes[..length]).is_err(),
            "{length} bytes were accepted"
        );
    }
    bytes.push(0);
    assert!(EntryRef::parse(&bytes).is_err());
    assert_eq!(EntryRef::parse_first(&bytes).unwrap().1, [0]);
}

#[test]
fn a_log_begins_at_one_and_only_there_without_a_predecessor() {
    let sealed = seal(b"changes");
    let check = |seq: u64, previous: u8, expected: Result<(), EntryError>| {
        let mut bytes = sealed.bytes.clone();
        bytes[68..76].copy_from_slice(&seq.to_be_bytes());
        bytes[76..108].fill(previous);
        assert_eq!(
            EntryRef::parse(&bytes).map(|_| ()),
            expected,
            "{seq} after {previous}"
        );
    };
    check(1, 0, Ok(()));
    check(2, 1, Ok(()));
    check(0, 0, Err(EntryError::Seq));
    check(0, 1, Err(EntryError::Seq));
    check(1, 1, Err(EntryError::Seq));
    check(2, 0, Err(EntryError::Seq));
}

#[test]
fn a_key_that_did_not_agree_cannot_be_introduced() {
    let mut founder = Device::founder(1, Division::Single);
    let seed = founder.invite(rights(Role::Member, &[]), 1);
    let mut joiner = Device::new(2, founder.history.context());
    joiner.pull(&founder);
    joiner.try_join(&seed, SECRET).unwrap();
    let join = joiner
        .history
        .get(joiner.history.heads()[0])
        .unwrap()
        .action()
        .clone();
    let Action::Join(join) = join else {
        panic!("a join comes last")
    };
    let (offer, _) = offer_device(
        &joiner.secrets,
        joiner.history.context(),
        founder.user,
        &mut joiner.rng,
    );
    let check = |by: &Device, action: Action, expected: Result<(), ControlError>| {
        let entry = aeroedge_log::context::act(&by.history, &by.secrets, Hlc::ZERO, action);
        assert_eq!(ControlEntry::decode(entry.bytes()).map(|_| ()), expected);
    };
    check(&joiner, Action::Join(join.clone()), Ok(()));
    // Another device cannot take over a join, nor the user's name in it be changed.
    check(
        &founder,
        Action::Join(join.clone()),
        Err(ControlError::Proof("writer")),
    );
    check(
        &founder,
        Action::OpenWriter(join.writer),
        Err(ControlError::Proof("writer")),
    );
    check(&founder, Action::AddDevice(offer.added.clone()), Ok(()));
    let other = AddDevice {
        user: joiner.user,
        ..offer.added
    };
    check(
        &founder,
        Action::AddDevice(other),
        Err(ControlError::Proof("new device")),
    );
}

#[test]
fn orphans_fill_no_memory() {
    let mut founder = Device::founder(1, Division::Single);
    let context = founder.history.context();
    let mut orphan = |number| {
        let action = Action::Unknown {
            number,
            body: vec![0; 1_000_000],
        };
        let parents = vec![ControlHash([9; 32])];
        let entry = ControlEntry::sign(&founder.secrets, context, parents, Hlc::ZERO, action);
        founder.history.insert(entry)
    };
    let refused = (1000..1100).map(&mut orphan).find_map(Result::err);
    assert_eq!(refused, Some(InsertError::TooManyWaiting));
}

#[test]
fn the_link_alone_makes_no_member() {
    let mut founder = Device::founder(1, Division::Single);
    let seed = founder.invite(rights(Role::Member, &[]), 5);
    let mut joiner = Device::new(2, founder.history.context());
    joiner.pull(&founder);
    joiner.try_join(&seed, SECRET).unwrap();
    let join = joiner.history.get(joiner.history.heads()[0]).unwrap();
    let Action::Join(join) = join.action().clone() else {
        panic!("a join comes last")
    };
    // Everything that the link gives, and a proof that was made with the secret for somebody else.
    let mut thief = Device::new(3, founder.history.context());
    thief.pull(&founder);
    let (offer, _) = offer_device(
        &thief.secrets,
        thief.history.context(),
        thief.user,
        &mut thief.rng,
    );
    let stolen = Action::Join(Join {
        user: thief.user,
        sealing: offer.added.sealing,
        writer: offer.added.writer,
        wraps: Vec::new(),
        ..join
    });
    let stolen = aeroedge_log::context::act(&thief.history, &thief.secrets, Hlc::ZERO, stolen);
    assert_eq!(
        founder.history.would_reject(&stolen),
        Some(Rejection::NoSecret)
    );
    assert_eq!(
        founder.history.insert(stolen),
        Err(InsertError::Stranger(thief.secrets.device()))
    );
}

#[test]
fn strangers_add_nothing_to_a_history() {
    let mut founder = Device::founder(1, Division::Single);
    let stranger = Device::new(9, founder.history.context());
    let act = |founder: &Device, by: &Device| {
        aeroedge_log::context::act(
            &founder.history,
            &by.secrets,
            Hlc::ZERO,
            Action::Acknowledge,
        )
    };
    let strange = InsertError::Stranger(stranger.secrets.device());
    let entry = act(&founder, &stranger);
    assert_eq!(founder.history.insert(entry), Err(strange));
    // One that came before its parents is dropped when they arrive.
    let mut other = Device::new(2, founder.history.context());
    other.pull(&founder);
    founder.act(Action::Acknowledge);
    let early = act(&founder, &stranger);
    assert!(matches!(
        other.history.insert(early.clone()),
        Ok(Inserted::Waiting { .. })
    ));
    other.pull(&founder);
    assert!(!other.history.contains(early.hash()));
    assert_eq!(other.history.heads(), founder.history.heads());
}

#[test]
fn a_body_too_large_or_heads_out_of_order_are_not_sealed() {
    let mut sealer = Sealer::new().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let key = EpochKey::from_bytes([9; 32]);
    let good = fields(1, EntryHash([0; 32]));
    let error = sealer
        .seal(&good, &vec![0; (1 << 20) + 1], &key, &mut rng)
        .unwrap_err();
    assert!(matches!(error, SealError::TooLong(_)));
    for heads in [
        Vec::new(),
        vec![ControlHash([6; 32]), ControlHash([5; 32])],
        vec![ControlHash([6; 32]); 2],
    ] {
        let error = sealer
            .seal(
                &EntryFields {
                    heads,
                    ..good.clone()
                },
                b"",
                &key,
                &mut rng,
            )
            .unwrap_err();
        assert!(matches!(error, SealError::Heads(_)));
    }
}

#[test]
fn a_chain_breaks_where_an_entry_is_missing_or_forked() {
    let mut sealer = Sealer::new().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let key = EpochKey::from_bytes([9; 32]);
    let mut seal = |seq, previous| {
        sealer
            .seal(&fields(seq, previous), b"", &key, &mut rng)
            .unwrap()
    };
    let first = seal(1, EntryHash([0; 32]));
    let second = seal(2, first.hash);
    let third = seal(3, second.hash);
    let fork = seal(3, first.hash);
    let parse = |sealed: &SealedEntry| sealed.bytes.clone();
    let (first, second, third, fork) = (parse(&first), parse(&second), parse(&third), parse(&fork));
    let read = |bytes| EntryRef::parse(bytes).unwrap();
    let start = ChainPosition::START;
    let at_one = start.advance(&read(&first)).unwrap();
    let at_two = at_one.advance(&read(&second)).unwrap();
    assert_eq!(at_two.advance(&read(&third)).unwrap().seq, Seq(3));
    assert_eq!(
        at_two.advance(&read(&fork)),
        Err(ChainError::Previous(Seq(3)))
    );
    assert_eq!(
        at_one.advance(&read(&third)),
        Err(ChainError::Seq {
            expected: Seq(2),
            found: Seq(3)
        })
    );
    assert_eq!(
        at_one.advance(&read(&first)),
        Err(ChainError::Seq {
            expected: Seq(2),
            found: Seq(1)
        })
    );
}

#[test]
fn any_changed_bit_of_a_control_entry_is_refused() {
    let mut founder = Device::founder(1, Division::Divided);
    founder.admit(2, rights(Role::Member, &["teaches"]));
    for entry in founder.history.entries() {
        let bytes = entry.bytes();
        // Every byte, one bit of it each: verifying costs more than flipping.
        for position in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[position] ^= 1 << (position % 8);
            assert!(
                ControlEntry::decode(&changed).is_err(),
                "byte {position} of {entry:?}"
            );
        }
        for length in 0..bytes.len() {
            assert!(ControlEntry::decode(&bytes[..length]).is_err());
        }
    }
}

#[test]
fn an_entry_of_another_context_is_refused() {
    let one = Device::founder(1, Division::Single);
    let mut two = Device::founder(2, Division::Single);
    for entry in one.history.entries() {
        assert!(two.history.insert(entry.clone()).is_err());
    }
}

proptest! {
    #[test]
    fn reading_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = EntryRef::parse(&bytes);
        let _ = Body::decode(&bytes);
        let _ = ControlEntry::decode_stored(&bytes);
        let _ = Head::from_bytes(&bytes);
    }

    #[test]
    fn reading_almost_an_entry_never_panics(position in 0_usize..240, value in any::<u8>(), length in 0_usize..240) {
        let mut bytes = seal(b"changes").bytes;
        if let Some(byte) = bytes.get_mut(position) {
            *byte = value;
        }
        bytes.truncate(length.max(position));
        if let Ok(entry) = EntryRef::parse(&bytes) {
            let _ = Opener::new().unwrap().open(&entry, &EpochKey::from_bytes([9; 32]));
        }
    }

    #[test]
    fn reading_almost_a_control_entry_never_panics(position in any::<prop::sample::Index>(), value in any::<u8>(), insert in any::<bool>()) {
        let founder = Device::founder(1, Division::Divided);
        for entry in founder.history.entries() {
            let mut bytes = entry.bytes().to_vec();
            let position = position.index(bytes.len());
            if insert { bytes.insert(position, value) } else { bytes[position] = value }
            let _ = ControlEntry::decode_stored(&bytes);
        }
    }

    #[test]
    fn reading_any_text_as_link_or_secret_never_panics(text in "\\PC*", tail in "[aeroedg:/?#&=%ckhnv0-9A-Fé]{0,80}") {
        let _ = InviteLink::parse(&text);
        let _ = InviteLink::parse(&format!("aeroedge://join?{tail}"));
        let _ = InviteLink::parse(&format!("https://x/join#{tail}"));
        let _ = Secret::chosen(&text);
    }
}
