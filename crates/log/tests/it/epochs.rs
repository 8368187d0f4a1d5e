//! New keys: whom they reach, whom they shut out, and what happens when several start one at once.

use aeroedge_ids::{CompartmentId, DeviceKey};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::{add_device, offer_device, start_epoch, wrap_owed};
use aeroedge_log::control::{Action, EpochWraps, RemoveMember, RevokeDevice, Role, SetRole};
use aeroedge_log::history::{CannotWrite, Refusal, UnknownChain};
use aeroedge_log::keys::{EpochKey, Wrap, WrapError, WrapScope};
use aeroedge_log::roster::Rejection;

use crate::world::{Device, SECRET, rights};

fn rejection_of(device: &Device, entry: &aeroedge_log::control::ControlEntry) -> Option<Rejection> {
    device
        .history
        .roster()
        .unwrap()
        .rejected()
        .get(&entry.hash())
        .copied()
}

#[test]
fn a_new_epoch_shuts_out_who_was_removed_and_reaches_all_others() {
    let mut owner = Device::founder(1, Division::Single);
    let gone = owner.admit(2, rights(Role::Member, &[]));
    let mut member = owner.admit(3, rights(Role::Member, &[]));
    let before = owner
        .history
        .roster()
        .unwrap()
        .current_epoch(owner.compartment(Audience::Everyone))
        .unwrap();
    let seed = owner.invite(rights(Role::Member, &[]), 1);
    owner.act(Action::RemoveMember(RemoveMember {
        user: gone.user,
        cut_offs: Vec::new(),
    }));
    let now = owner.now();
    let rotation = start_epoch(
        &owner.history,
        &owner.secrets,
        Audience::Everyone,
        now,
        &mut owner.rng,
    )
    .unwrap();
    owner.insert(rotation.clone());
    member.pull(&owner);
    assert_eq!(rejection_of(&owner, &rotation), None);

    let mut removed = Device::new(2, owner.history.context());
    removed.secrets = gone.secrets.clone();
    removed.pull(&owner);
    assert!(removed.ring().key(before).is_some());
    assert!(removed.ring().key(rotation.hash()).is_none());
    let point = member.writing_point(Audience::Everyone).unwrap();
    assert_eq!(point.epoch, rotation.hash());
    assert_eq!(Some(&point.key), owner.ring().key(rotation.hash()));
    assert!(matches!(
        removed.writing_point(Audience::Everyone),
        Err(CannotWrite::Refused(Refusal::ShutOut(_)))
    ));

    // An entry sealed with the old key by someone who knows of the new one does not count.
    let mut claim = member.claim(Audience::Everyone, 1);
    claim.epoch = before;
    assert_eq!(
        owner.history.may_write(&claim, &UnknownChain),
        Err(Refusal::Epoch(before))
    );

    // The rotation withdrew the invite; whoever was removed may know it.
    let mut late = Device::new(7, owner.history.context());
    late.pull(&owner);
    assert_eq!(
        late.try_join(&seed, SECRET),
        Err(aeroedge_log::context::JoinError::Void)
    );
    assert!(
        owner
            .history
            .roster()
            .unwrap()
            .compartments()
            .all(|compartment| compartment.exposed_by.is_empty())
    );
}

#[test]
fn concurrent_rotations_combine_and_lock_nobody_out() {
    let mut owner = Device::founder(1, Division::Single);
    let mut admin = owner.admit(2, rights(Role::Admin, &[]));
    admin.pull(&owner);
    // A third joins at the admin's, unknown to the owner, who rotates meanwhile.
    let mut newcomer = admin.admit(3, rights(Role::Member, &[]));
    for device in [&mut owner, &mut admin] {
        let now = device.now();
        let epoch = start_epoch(
            &device.history,
            &device.secrets,
            Audience::Everyone,
            now,
            &mut device.rng,
        )
        .unwrap();
        device.insert(epoch);
    }
    owner.pull(&admin);
    admin.pull(&owner);
    newcomer.pull(&owner);
    let everyone = owner.compartment(Audience::Everyone);
    let roster = owner.history.roster().unwrap();
    assert!(roster.rejected().is_empty(), "{:?}", roster.rejected());
    let parts = &roster.compartment(everyone).unwrap().current;
    assert_eq!(parts.len(), 2);
    let (combined, key) = owner.ring().current(&roster, everyone).unwrap();
    assert!(!parts.contains(&combined));
    assert_eq!(
        admin.ring().current(&roster, everyone).unwrap(),
        (combined, key.clone())
    );

    // The newcomer lacks the owner's part: it goes on in an epoch it has, and is not refused.
    assert!(newcomer.ring().current(&roster, everyone).is_none());
    let point = newcomer.writing_point(Audience::Everyone).unwrap();
    let mut claim = newcomer.claim(Audience::Everyone, 1);
    (claim.heads, claim.epoch) = (point.heads, point.epoch);
    assert_eq!(
        owner.history.may_write(&claim, &UnknownChain).unwrap().user,
        newcomer.user
    );

    // Until someone seals it the key.
    let (ring, now) = (owner.ring(), owner.now());
    let wraps = wrap_owed(
        &owner.history,
        &ring,
        &owner.secrets,
        100,
        now,
        &mut owner.rng,
    )
    .unwrap();
    owner.insert(wraps);
    newcomer.pull(&owner);
    assert_eq!(
        newcomer.writing_point(Audience::Everyone).unwrap().epoch,
        combined
    );
    assert_eq!(newcomer.writing_point(Audience::Everyone).unwrap().key, key);
    assert_eq!(owner.ring().owed(&owner.history.roster().unwrap()), 0);
}

#[test]
fn a_second_device_reads_all_and_is_shut_out_alone() {
    let mut owner = Device::founder(1, Division::Divided);
    let mut student = owner.admit(2, rights(Role::Member, &[]));
    let context = owner.history.context();
    let mut phone = Device::new(42, context);
    phone.user = student.user;
    let (offer, writer) = offer_device(&phone.secrets, context, student.user, &mut phone.rng);
    phone.secrets.add_writer(context, writer);
    let (ring, now) = (student.ring(), student.now());
    let added = add_device(
        &student.history,
        &ring,
        &student.secrets,
        offer,
        now,
        &mut student.rng,
    )
    .unwrap();
    student.insert(added);
    phone.pull(&student);
    owner.pull(&student);
    let own = Audience::Person(student.user);
    assert!(phone.writing_point(own).is_ok());
    assert!(phone.writing_point(Audience::Everyone).is_ok());
    assert!(phone.writing_point(Audience::Staff).is_err());
    assert!(
        owner
            .history
            .may_write(&phone.claim(own, 1), &UnknownChain)
            .is_ok()
    );
    assert_eq!(owner.ring().owed(&owner.history.roster().unwrap()), 0);

    let lost: DeviceKey = phone.secrets.device();
    let revocation = student.act(Action::RevokeDevice(RevokeDevice {
        device: lost,
        cut_offs: Vec::new(),
    }));
    let now = student.now();
    let epoch = start_epoch(
        &student.history,
        &student.secrets,
        own,
        now,
        &mut student.rng,
    )
    .unwrap();
    student.insert(epoch.clone());
    assert_eq!(
        rejection_of(&student, &epoch),
        None,
        "a member may rotate after revoking a device of its own"
    );
    owner.pull(&student);
    assert_eq!(
        owner.history.may_write(&phone.claim(own, 1), &UnknownChain),
        Err(Refusal::ShutOut(revocation.hash()))
    );
    assert!(
        owner
            .history
            .may_write(&student.claim(own, 1), &UnknownChain)
            .is_ok()
    );
    assert!(
        owner.ring().key(epoch.hash()).is_some(),
        "staff reach the new key through theirs"
    );
    phone.pull(&student);
    assert!(phone.ring().key(epoch.hash()).is_none());
}

#[test]
fn a_promoted_member_is_owed_a_handful_of_keys_not_one_per_person() {
    let mut owner = Device::founder(1, Division::Divided);
    for number in 2..12 {
        owner.admit(number, rights(Role::Member, &[]));
    }
    let mut teacher = owner.admit(12, rights(Role::Member, &[]));
    assert_eq!(owner.ring().owed(&owner.history.roster().unwrap()), 0);
    owner.act(Action::SetRole(SetRole {
        user: teacher.user,
        rights: rights(Role::Member, &["teaches"]),
        cut_offs: Vec::new(),
    }));
    assert_eq!(owner.ring().owed(&owner.history.roster().unwrap()), 1);
    let (ring, now) = (owner.ring(), owner.now());
    let wraps = wrap_owed(
        &owner.history,
        &ring,
        &owner.secrets,
        100,
        now,
        &mut owner.rng,
    )
    .unwrap();
    owner.insert(wraps);
    teacher.pull(&owner);
    let roster = teacher.history.roster().unwrap();
    let ring = teacher.ring();
    assert!(
        roster
            .compartments()
            .all(|compartment| ring.current(&roster, compartment.id).is_some())
    );
    assert_eq!(roster.compartments().count(), 2 + 12);
}

#[test]
fn a_hundred_concurrent_heads_still_let_everyone_write() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 200);
    let mut joiners: Vec<_> = (0..100)
        .map(|number| {
            let mut joiner = Device::new(number + 100, owner.history.context());
            joiner.pull(&owner);
            joiner.try_join(&seed, SECRET).unwrap();
            joiner
        })
        .collect();
    for joiner in &joiners {
        owner.pull(joiner);
    }
    assert_eq!(owner.history.heads().len(), 100);
    for joiner in &mut joiners {
        joiner.pull(&owner);
        let point = joiner.writing_point(Audience::Everyone).unwrap();
        assert_eq!(point.heads.len(), 8);
    }
    let acknowledged = owner.act(Action::Acknowledge);
    assert_eq!(acknowledged.parents().len(), 64);
    assert_eq!(owner.history.heads().len(), 37);
}

#[test]
fn a_forged_wrap_is_not_believed_and_a_true_one_beside_it_is() {
    let mut owner = Device::founder(1, Division::Single);
    let mut member = owner.admit(2, rights(Role::Member, &[]));
    let mut victim = owner.admit(3, rights(Role::Member, &[]));
    member.pull(&owner);
    let roster = owner.history.roster().unwrap();
    let epoch = roster
        .current_epoch(owner.compartment(Audience::Everyone))
        .unwrap();
    let scope = roster.epoch(epoch).unwrap().scope(roster.context());
    let recipient = victim.secrets.sealing_key();
    let forged = Wrap::seal(
        &EpochKey::from_bytes([6; 32]),
        recipient,
        &scope,
        &mut member.rng,
    )
    .unwrap();
    assert_eq!(
        forged.open(victim.secrets.sealing(), &scope),
        Err(WrapError::Commitment)
    );
    let elsewhere = WrapScope {
        compartment: CompartmentId([1; 16]),
        ..scope
    };
    assert_eq!(
        forged.open(victim.secrets.sealing(), &elsewhere),
        Err(WrapError::NotForUs)
    );
    assert_eq!(
        forged.open(member.secrets.sealing(), &scope),
        Err(WrapError::NotForUs)
    );
    let entry = member.act(Action::WrapKeys(vec![EpochWraps {
        epoch,
        wraps: vec![forged],
    }]));
    victim.pull(&member);
    assert_eq!(rejection_of(&victim, &entry), None);
    assert_eq!(victim.ring().key(epoch), owner.ring().key(epoch));
    assert!(victim.ring().key(epoch).is_some());
}

#[test]
fn an_epoch_that_did_not_know_of_a_removal_does_not_settle_it() {
    let mut owner = Device::founder(1, Division::Single);
    let mut admin = owner.admit(2, rights(Role::Admin, &[]));
    let gone = owner.admit(3, rights(Role::Member, &[]));
    admin.pull(&owner);
    let removal = owner.act(Action::RemoveMember(RemoveMember {
        user: gone.user,
        cut_offs: Vec::new(),
    }));
    admin.pull(&gone);
    let now = admin.now();
    let epoch = start_epoch(
        &admin.history,
        &admin.secrets,
        Audience::Everyone,
        now,
        &mut admin.rng,
    )
    .unwrap();
    admin.insert(epoch);
    owner.pull(&admin);
    let exposed_by = |device: &Device| {
        let everyone = device.compartment(Audience::Everyone);
        device
            .history
            .roster()
            .unwrap()
            .compartment(everyone)
            .unwrap()
            .exposed_by
            .clone()
    };
    assert_eq!(exposed_by(&owner), [removal.hash()]);
    let now = owner.now();
    let epoch = start_epoch(
        &owner.history,
        &owner.secrets,
        Audience::Everyone,
        now,
        &mut owner.rng,
    )
    .unwrap();
    owner.insert(epoch);
    assert!(exposed_by(&owner).is_empty());
}
