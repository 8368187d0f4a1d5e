//! A member whose program was changed: what it signs is well formed and means harm.

use aeroedge_crdt::changeset::{ChangesetWriter, Kind};
use aeroedge_crdt::hlc::{Hlc, Stamp};
use aeroedge_crdt::life::Life;
use aeroedge_crdt::value::Value;
use aeroedge_device::KeyStore;
use aeroedge_ids::{ContextId, EntryHash, Millis, Seq, TransactionId, WriterKey};
use aeroedge_log::compartment::Division;
use aeroedge_log::control::{ControlEntry, Role};
use aeroedge_log::entry::{Body, EntryFields, Sealer};
use aeroedge_log::head::Head;
use aeroedge_log::history::{History, WritingPoint};
use aeroedge_log::keyring::KeyRing;
use aeroedge_protocol::{Run, WireHead};

use crate::club::{NOW, Peer, carry_control, everyone, pair};

const NOTHING: &[u8] = &[0x92, 0x90, 0x90];

/// Where a member may write, as it knows the membership now.
pub(crate) fn writing_point(by: &Peer, context: ContextId) -> WritingPoint {
    let secrets = by.keys.load().unwrap();
    let mut history = History::new(context);
    let hashes = by.device.control_hashes(context);
    for bytes in by.device.control_entries(context, &hashes, usize::MAX) {
        history
            .insert(ControlEntry::decode(&bytes).unwrap())
            .unwrap();
    }
    let mut ring = KeyRing::new(&secrets);
    ring.learn(&history.roster().unwrap());
    let writer = secrets.writer(context).unwrap().key();
    history
        .writing_point(&ring, writer, everyone(context))
        .unwrap()
}

/// The first transaction of a member in parts, each sealed where it says, and signed.
fn forge(by: &mut Peer, context: ContextId, parts: &[(&WritingPoint, &[u8])]) -> Run {
    let secrets = by.keys.load().unwrap();
    let secret = secrets.writer(context).unwrap();
    let compartment = everyone(context);
    let mut sealer = Sealer::new().unwrap();
    let (mut entries, mut previous) = (Vec::new(), EntryHash([0; 32]));
    for (part, (point, changes)) in parts.iter().enumerate() {
        let mut body = Vec::new();
        Body {
            transaction: TransactionId([1; 16]),
            part: part as u32,
            others: Vec::new(),
            seen: Vec::new(),
            changes,
        }
        .encode(&mut body);
        let fields = EntryFields {
            context,
            compartment,
            writer: secret.key(),
            seq: Seq(part as u64 + 1),
            previous,
            hlc: Hlc::at(NOW),
            epoch: point.epoch,
            schema_version: 1,
            heads: point.heads.clone(),
            more_parts: part + 1 < parts.len(),
        };
        let sealed = sealer
            .seal(&fields, &body, &point.key, &mut by.rng)
            .unwrap();
        previous = sealed.hash;
        entries.push(sealed.bytes);
    }
    let last = Seq(entries.len() as u64);
    let head = Head::sign(compartment, last, previous, secret);
    Run {
        writer: secret.key(),
        first: Seq(1),
        entries,
        head: Some(WireHead {
            seq: last,
            hash: previous,
            signature: head.signature,
        }),
    }
}

/// What `to` says about a forged run that it stores.
fn refusal(to: &mut Peer, context: ContextId, run: Run) -> String {
    let received = to
        .device
        .receive_entries(&[(context, everyone(context), vec![run])], NOW)
        .unwrap();
    assert!(received.declined.is_empty());
    assert_eq!(received.merged.entries, 0);
    assert!(to.notes().is_empty());
    let [(_, _, reason)] = &received.merged.refused[..] else {
        panic!("{received:?}")
    };
    reason.clone()
}

/// A note of its own for each title.
pub(crate) fn note_titled(context: ContextId, title: &str) -> Vec<u8> {
    let mut writer = ChangesetWriter::new();
    let table = writer.table("note", &["id", "compartment_id"]);
    let row = writer.row(table, Kind::Write, Life::FIRST, None, &[0], |_| "title");
    Value::Text(title.as_bytes()).write(row);
    Value::Blob(&everyone(context).0).write(row);
    Value::Text(title.as_bytes()).write(row);
    writer.finish()
}

fn note(context: ContextId, life: Life, stamp: Option<Stamp>) -> Vec<u8> {
    let mut writer = ChangesetWriter::new();
    let table = writer.table("note", &["id", "compartment_id"]);
    let row = writer.row(table, Kind::Write, life, stamp, &[0], |_| "title");
    Value::Text(b"a").write(row);
    Value::Blob(&everyone(context).0).write(row);
    Value::Text(b"forged").write(row);
    writer.finish()
}

#[test]
fn nobody_writes_in_the_name_of_another_or_from_the_future() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let point = writing_point(&member, context);
    let stamp = Stamp {
        hlc: Hlc::at(Millis(NOW.0 * 2)),
        writer: WriterKey([7; 32]),
    };
    let changes = note(context, Life::FIRST, Some(stamp));
    let run = forge(&mut member, context, &[(&point, &changes)]);
    let reason = refusal(&mut owner, context, run);
    assert!(reason.contains("stamp"), "{reason}");
}

#[test]
fn nobody_makes_a_row_that_cannot_die() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let point = writing_point(&member, context);
    let changes = note(context, Life::from_number(u64::MAX), None);
    let run = forge(&mut member, context, &[(&point, &changes)]);
    let reason = refusal(&mut owner, context, run);
    assert!(reason.contains("life"), "{reason}");
}

#[test]
fn parts_under_different_memberships_count_nowhere() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::Member);
    let before = writing_point(&member, context);
    owner.invite(context, Role::Member, 1);
    carry_control(&owner, &mut member, context);
    let after = writing_point(&member, context);
    assert_ne!(before.heads, after.heads);
    let parts: [(&WritingPoint, &[u8]); 2] = [(&before, NOTHING), (&after, NOTHING)];
    let run = forge(&mut member, context, &parts);
    let reason = refusal(&mut owner, context, run);
    assert!(reason.contains("memberships"), "{reason}");
}

#[test]
fn an_act_from_the_end_of_time_drags_nobody_along() {
    let (mut owner, mut member, context) = pair(Division::Single, Role::ReadOnly);
    let secrets = member.keys.load().unwrap();
    let late = ControlEntry::sign(
        &secrets,
        context,
        vec![*owner.device.control_hashes(context).last().unwrap()],
        Hlc::from_bits(u64::MAX),
        aeroedge_log::control::Action::Acknowledge,
    );
    owner
        .device
        .receive_control(context, &[late.bytes().to_vec()], NOW, &mut owner.rng)
        .unwrap();
    owner.invite(context, Role::Member, 1);
    let newest = *owner.device.control_hashes(context).last().unwrap();
    let bytes = owner.device.control_entries(context, &[newest], usize::MAX);
    let invite = ControlEntry::decode(&bytes[0]).unwrap();
    assert!(invite.hlc().time().0 <= NOW.0 + 1000);
    carry_control(&owner, &mut member, context);
}
