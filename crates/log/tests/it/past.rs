//! Checkpoints, devices nobody waits for any more, and recovery sheets.

use aeroedge_ids::{DeviceKey, EntryHash, Seq};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::{
    DeviceOffer, add_device, offer_device, offer_recovery_device, open_writer,
};
use aeroedge_log::control::{
    Action, Checkpoint, ControlEntry, CutOff, DeclareStale, RevokeDevice, Role,
};
use aeroedge_log::history::{Claim, Refusal, UnknownChain};
use aeroedge_log::keys::WriterSecret;
use aeroedge_log::roster::Rejection;

use crate::world::{Device, rights};

fn rejection(device: &Device, entry: &ControlEntry) -> Option<Rejection> {
    let roster = device.history.roster().unwrap();
    roster.rejected().get(&entry.hash()).copied()
}

fn checkpoint(device: &mut Device, audience: Audience) -> ControlEntry {
    let writer = device.claim(Audience::Everyone, 1).writer;
    let made = Checkpoint {
        compartment: device.compartment(audience),
        positions: [1; 32],
        state: [2; 32],
        writer,
        first: Seq(7),
        last: Seq(9),
    };
    device.act(Action::Checkpoint(made))
}

/// A further device of the same person, taken in by `by`.
fn another(
    by: &mut Device,
    number: u8,
    offered: impl FnOnce(&mut Device) -> (DeviceOffer, WriterSecret),
) -> (Device, ControlEntry) {
    let mut device = Device::new(number, by.history.context());
    device.user = by.user;
    let (offer, writer) = offered(&mut device);
    device.secrets.add_writer(by.history.context(), writer);
    let (ring, now) = (by.ring(), by.now());
    let added = add_device(&by.history, &ring, &by.secrets, offer, now, &mut by.rng).unwrap();
    by.insert(added.clone());
    device.pull(by);
    (device, added)
}

fn phone(by: &mut Device, number: u8) -> Device {
    let phone = another(by, number, |device| {
        let context = device.history.context();
        offer_device(&device.secrets, context, device.user, &mut device.rng)
    });
    phone.0
}

fn sheet(by: &mut Device, number: u8) -> (Device, ControlEntry) {
    another(by, number, |device| {
        let context = device.history.context();
        offer_recovery_device(&device.secrets, context, device.user, &mut device.rng)
    })
}

fn revoke(by: &mut Device, device: DeviceKey) -> ControlEntry {
    by.act(Action::RevokeDevice(RevokeDevice {
        device,
        cut_offs: Vec::new(),
    }))
}

#[test]
fn a_checkpoint_needs_all_who_were_there_and_only_them() {
    let mut owner = Device::founder(1, Division::Divided);
    let mut member = owner.admit(2, rights(Role::Member, &[]));
    let mut stale = owner.admit(3, rights(Role::Member, &[]));
    let made = checkpoint(&mut owner, Audience::Everyone);
    let newcomer = owner.admit(4, rights(Role::Member, &[]));
    sheet(&mut owner, 5);
    let lacks = |owner: &Device| {
        let roster = owner.history.roster().unwrap();
        let checkpoint = roster.checkpoint(made.hash()).unwrap();
        let mut lacks: Vec<_> = roster
            .unacknowledged(checkpoint)
            .map(|device| device.key)
            .collect();
        lacks.sort_unstable();
        lacks
    };
    let mut both = vec![member.secrets.device(), stale.secrets.device()];
    both.sort_unstable();
    assert_eq!(lacks(&owner), both, "not {:?}", newcomer.user);
    member.pull(&owner);
    member.act(Action::AcknowledgeCheckpoints(vec![made.hash()]));
    owner.pull(&member);
    assert_eq!(lacks(&owner), [stale.secrets.device()]);
    owner.act(Action::DeclareStale(DeclareStale {
        device: stale.secrets.device(),
        cut_offs: Vec::new(),
    }));
    assert!(lacks(&owner).is_empty());
    // It is still a member, and asked again once it is back.
    stale.pull(&owner);
    let now = stale.now();
    let (opened, _) = open_writer(&stale.history, &stale.secrets, now, &mut stale.rng);
    stale.insert(opened);
    owner.pull(&stale);
    assert_eq!(lacks(&owner), [stale.secrets.device()]);
}

#[test]
fn only_an_admin_who_reads_the_compartment_makes_a_checkpoint_in_its_own_log() {
    let mut owner = Device::founder(1, Division::Divided);
    let mut manager = owner.admit(2, rights(Role::Manager, &[]));
    manager.pull(&owner);
    let forbidden = checkpoint(&mut manager, Audience::Everyone);
    assert_eq!(rejection(&manager, &forbidden), Some(Rejection::NoRight));
    let Action::Checkpoint(mut foreign) = forbidden.action().clone() else {
        panic!("a checkpoint is a checkpoint")
    };
    foreign.writer = manager.claim(Audience::Everyone, 1).writer;
    let foreign = owner.act(Action::Checkpoint(foreign));
    assert_eq!(rejection(&owner, &foreign), Some(Rejection::UnknownWriter));
    let staff = checkpoint(&mut owner, Audience::Staff);
    assert_eq!(rejection(&owner, &staff), None);
}

#[test]
fn a_stale_device_returns_only_with_a_writer_opened_knowing_it() {
    let mut owner = Device::founder(1, Division::Single);
    let mut member = owner.admit(2, rights(Role::Member, &[]));
    let old = member.claim(Audience::Everyone, 3);
    let cut_off = CutOff {
        writer: old.writer,
        compartment: old.compartment,
        seq: Seq(2),
        hash: EntryHash([1; 32]),
    };
    let stale = owner.act(Action::DeclareStale(DeclareStale {
        device: member.secrets.device(),
        cut_offs: vec![cut_off],
    }));
    // Not knowing of it, the device opens a writer and writes: that does not count.
    let now = member.now();
    let (unknowing, writer) = open_writer(&member.history, &member.secrets, now, &mut member.rng);
    member.insert(unknowing);
    member.secrets.add_writer(owner.history.context(), writer);
    let early = member.claim(Audience::Everyone, 1);
    owner.pull(&member);
    let judge = |claim: &Claim| owner.history.may_write(claim, &UnknownChain).map(|_| ());
    let refused = Err(Refusal::ShutOut(stale.hash()));
    assert_eq!(judge(&old), refused);
    assert_eq!(judge(&early), refused);
    assert!(
        owner
            .history
            .is_settled(early.writer, early.compartment, early.seq, &UnknownChain)
    );
    let spared = Claim {
        seq: Seq(2),
        ..old.clone()
    };
    assert_eq!(judge(&spared), Ok(()));

    member.pull(&owner);
    let roster = member.history.roster().unwrap();
    let device = roster.device(member.secrets.device()).unwrap();
    assert_eq!(device.stale, Some(stale.hash()));
    let now = member.now();
    let (returned, writer) = open_writer(&member.history, &member.secrets, now, &mut member.rng);
    member.insert(returned);
    member.secrets.add_writer(owner.history.context(), writer);
    owner.pull(&member);
    let judge = |claim: &Claim| owner.history.may_write(claim, &UnknownChain).map(|_| ());
    assert_eq!(judge(&member.claim(Audience::Everyone, 1)), Ok(()));
    assert_eq!(judge(&early), refused, "also afterwards");
    let roster = owner.history.roster().unwrap();
    assert_eq!(roster.device(member.secrets.device()).unwrap().stale, None);
}

#[test]
fn a_recovery_sheet_outranks_the_devices_of_its_person_and_nobody_elses() {
    let mut owner = Device::founder(1, Division::Single);
    let mut member = owner.admit(2, rights(Role::Member, &[]));
    let (mut recovery, _) = sheet(&mut member, 42);
    let mut thief = phone(&mut member, 43);
    for device in [recovery.secrets.device(), thief.secrets.device()] {
        let revoked = revoke(&mut thief, device);
        let expected = (device == recovery.secrets.device()).then_some(Rejection::NeedsRecovery);
        assert_eq!(rejection(&thief, &revoked), expected);
    }
    // Nor does whoever holds a device make a second sheet.
    let (_, second) = sheet(&mut member, 44);
    assert_eq!(rejection(&member, &second), Some(Rejection::NeedsRecovery));
    let owned = revoke(&mut recovery, owner.secrets.device());
    assert_eq!(rejection(&recovery, &owned), Some(Rejection::NoRight));
    let lost = revoke(&mut recovery, member.secrets.device());
    assert_eq!(rejection(&recovery, &lost), None);
    let fresh = phone(&mut recovery, 45);
    assert!(
        recovery
            .history
            .may_write(&fresh.claim(Audience::Everyone, 1), &UnknownChain)
            .is_ok()
    );
    let acknowledged = recovery.act(Action::AcknowledgeCheckpoints(Vec::new()));
    assert_eq!(
        rejection(&recovery, &acknowledged),
        Some(Rejection::NoRight)
    );
    owner.pull(&member);
    let by_owner = revoke(&mut owner, recovery.secrets.device());
    assert_eq!(rejection(&owner, &by_owner), None);
}
