//! Changing who may do what, and what happens when several do so at once.

use aeroedge_ids::{CompartmentId, DeviceKey, EntryHash, Seq};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::{
    InviteError, InviteTerms, add_device, invite, offer_device, open_writer, start_epoch, wrap_owed,
};
use aeroedge_log::control::{
    Action, CutOff, EpochWraps, RemoveMember, RevokeDevice, Role, SetRole,
};
use aeroedge_log::history::{CannotWrite, Refusal};
use aeroedge_log::invite::{Secret, Stretch};
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
fn each_role_can_do_what_it_should_and_no_more() {
    let mut owner = Device::founder(1, Division::Single);
    let mut admin = owner.admit(2, rights(Role::Admin, &[]));
    let mut manager = owner.admit(3, rights(Role::Manager, &[]));
    let mut member = owner.admit(4, rights(Role::Member, &[]));
    for device in [&mut admin, &mut manager, &mut member] {
        device.pull(&owner);
    }
    let set = |device: &Device, role| {
        Action::SetRole(SetRole {
            user: device.user,
            rights: rights(role, &[]),
            cut_offs: Vec::new(),
        })
    };
    let remove = |device: &Device| {
        Action::RemoveMember(RemoveMember {
            user: device.user,
            cut_offs: Vec::new(),
        })
    };
    let check = |by: &Device, action: Action, expected: Option<Rejection>| {
        let entry = aeroedge_log::context::act(
            &by.history,
            &by.secrets,
            aeroedge_crdt::hlc::Hlc::ZERO,
            action,
        );
        assert_eq!(
            by.history.would_reject(&entry),
            expected,
            "{:?}",
            entry.action()
        );
    };
    check(&owner, set(&admin, Role::Owner), None);
    check(
        &owner,
        set(&owner, Role::Member),
        Some(Rejection::LastOwner),
    );
    check(&owner, remove(&owner), Some(Rejection::LastOwner));
    check(&admin, set(&member, Role::Admin), None);
    check(
        &admin,
        set(&member, Role::Owner),
        Some(Rejection::GrantsTooMuch),
    );
    check(&admin, remove(&owner), Some(Rejection::NoRight));
    check(&admin, remove(&manager), None);
    check(
        &manager,
        set(&member, Role::ReadOnly),
        Some(Rejection::NoRight),
    );
    check(&manager, remove(&member), Some(Rejection::NoRight));
    check(&member, remove(&member), None);
    check(&member, remove(&manager), Some(Rejection::NoRight));
    check(
        &member,
        Action::Unknown {
            number: 900,
            body: vec![0x90],
        },
        Some(Rejection::UnknownAction),
    );
    let stranger = Device::new(9, owner.history.context());
    let entry = aeroedge_log::context::act(
        &owner.history,
        &stranger.secrets,
        aeroedge_crdt::hlc::Hlc::ZERO,
        Action::Acknowledge,
    );
    assert_eq!(
        owner.history.would_reject(&entry),
        Some(Rejection::NotAMember)
    );
}

#[test]
fn what_a_removed_member_wrote_counts_up_to_the_cut_off_whatever_head_it_names() {
    let mut owner = Device::founder(1, Division::Single);
    let member = owner.admit(2, rights(Role::Member, &[]));
    let before = |seq| member.claim(Audience::Everyone, seq);
    let writer = before(1).writer;
    let compartment = before(1).compartment;
    let cut_off = CutOff {
        writer,
        compartment,
        seq: Seq(5),
        hash: EntryHash([1; 32]),
    };
    let removal = owner.act(Action::RemoveMember(RemoveMember {
        user: member.user,
        cut_offs: vec![cut_off],
    }));

    assert!(owner.history.may_write(&before(5)).is_ok());
    assert_eq!(
        owner.history.may_write(&before(6)),
        Err(Refusal::ShutOut(removal.hash()))
    );
    let mut knowing = before(1);
    knowing.heads = owner.history.heads();
    assert_eq!(
        owner.history.may_write(&knowing),
        Err(Refusal::ShutOut(removal.hash()))
    );

    let roster = owner.history.roster().unwrap();
    assert!(!roster.may_read(member.user, compartment));
    assert_eq!(roster.audience(compartment).len(), 1);
    assert_eq!(
        roster.compartment(compartment).unwrap().exposed_by,
        [removal.hash()]
    );
}

#[test]
fn a_demoted_member_keeps_what_was_written_before() {
    let mut owner = Device::founder(1, Division::Divided);
    let mut teacher = owner.admit(2, rights(Role::Member, &["teaches", "bills"]));
    let old = teacher.claim(Audience::Staff, 3);
    let cut_off = CutOff {
        writer: old.writer,
        compartment: old.compartment,
        seq: Seq(3),
        hash: EntryHash([1; 32]),
    };
    owner.act(Action::SetRole(SetRole {
        user: teacher.user,
        rights: rights(Role::Member, &["teaches"]),
        cut_offs: vec![cut_off],
    }));
    let permissions = |claim| {
        let author = owner.history.may_write(claim).unwrap();
        author
            .rights
            .permissions
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(permissions(&old), ["bills", "teaches"]);
    let past = aeroedge_log::history::Claim {
        seq: Seq(4),
        ..old.clone()
    };
    assert_eq!(permissions(&past), ["teaches"]);
    teacher.pull(&owner);
    assert_eq!(permissions(&teacher.claim(Audience::Staff, 4)), ["teaches"]);
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
    assert_eq!(owner.history.may_write(&claim), Err(Refusal::Epoch(before)));

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
    assert_eq!(owner.history.may_write(&claim).unwrap().user, newcomer.user);

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
fn of_too_many_concurrent_joins_the_lowest_hashes_stand_whatever_the_order() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 2);
    let mut joins = Vec::new();
    for number in 10..16 {
        let mut joiner = Device::new(number, owner.history.context());
        joiner.pull(&owner);
        joiner.try_join(&seed, SECRET).unwrap();
        joins.push(
            joiner
                .history
                .get(joiner.history.heads()[0])
                .unwrap()
                .clone(),
        );
    }
    for join in &joins {
        owner.insert(join.clone());
    }
    let mut lowest: Vec<_> = joins
        .iter()
        .map(aeroedge_log::control::ControlEntry::hash)
        .collect();
    lowest.sort_unstable();
    let roster = owner.history.roster().unwrap();
    let mut standing = roster.invite(seed.key()).unwrap().joins.clone();
    standing.sort_unstable();
    assert_eq!(standing, lowest[..2]);
    assert_eq!(roster.members().count(), 3);
    assert!(
        lowest[2..]
            .iter()
            .all(|join| roster.rejected()[join] == Rejection::Surplus)
    );
}

#[test]
fn who_joined_first_stays_against_a_later_join_that_knew() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 1);
    // Whatever the hashes: several tries with different devices.
    for number in 20..26 {
        let mut first = Device::new(number, owner.history.context());
        first.pull(&owner);
        first.try_join(&seed, SECRET).unwrap();
        let mut second = Device::new(number + 20, owner.history.context());
        second.pull(&owner);
        second.try_join(&seed, SECRET).unwrap();
        let join = second
            .history
            .get(second.history.heads()[0])
            .unwrap()
            .clone();
        let Action::Join(join) = join.action().clone() else {
            panic!("a join is a join")
        };
        let now = second.now();
        let late =
            aeroedge_log::context::act(&first.history, &second.secrets, now, Action::Join(join));
        assert_eq!(first.history.would_reject(&late), Some(Rejection::Surplus));
    }
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
    assert!(owner.history.may_write(&phone.claim(own, 1)).is_ok());
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
        owner.history.may_write(&phone.claim(own, 1)),
        Err(Refusal::ShutOut(revocation.hash()))
    );
    assert!(owner.history.may_write(&student.claim(own, 1)).is_ok());
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
fn a_further_writer_counts_and_a_closed_one_does_not() {
    let mut owner = Device::founder(1, Division::Single);
    let old = owner.claim(Audience::Everyone, 1);
    let now = owner.now();
    let (opened, writer) = open_writer(&owner.history, &owner.secrets, now, &mut owner.rng);
    owner.insert(opened);
    owner.secrets.add_writer(owner.history.context(), writer);
    owner.act(Action::CloseWriter {
        writer: old.writer,
        cut_offs: Vec::new(),
    });
    assert!(matches!(
        owner.history.may_write(&old),
        Err(Refusal::ShutOut(_))
    ));
    assert!(
        owner
            .history
            .may_write(&owner.claim(Audience::Everyone, 1))
            .is_ok()
    );
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
fn an_expired_invite_is_refused_to_the_joiner_and_by_everyone() {
    let mut owner = Device::founder(1, Division::Single);
    let (ring, now) = (owner.ring(), owner.now());
    let terms = InviteTerms {
        rights: rights(Role::Member, &[]),
        expires: now.time(),
        uses: 1,
    };
    let secret = Secret::typed(SECRET);
    let (entry, seed) = invite(
        &owner.history,
        &ring,
        &owner.secrets,
        &terms,
        &secret,
        Stretch::FOR_TESTS,
        now,
        &mut owner.rng,
    )
    .unwrap();
    owner.insert(entry);
    assert!(
        owner
            .history
            .roster()
            .unwrap()
            .invite(seed.key())
            .unwrap()
            .is_open(now.time())
    );
    let mut late = Device::new(2, owner.history.context());
    late.pull(&owner);
    assert_eq!(
        late.try_join(&seed, SECRET),
        Err(aeroedge_log::context::JoinError::Expired)
    );

    let in_time = aeroedge_log::context::join(
        &late.history,
        &late.secrets,
        &seed,
        &secret,
        Stretch::FOR_TESTS,
        late.user,
        now,
        &mut late.rng,
    );
    let Action::Join(join) = in_time.unwrap().entries[0].action().clone() else {
        panic!("a join comes first")
    };
    let stamped_late = late.now();
    let entry = aeroedge_log::context::act(
        &late.history,
        &late.secrets,
        stamped_late,
        Action::Join(join),
    );
    assert_eq!(
        owner.history.would_reject(&entry),
        Some(Rejection::InviteExpired)
    );
}

#[test]
fn a_manager_cannot_invite_staff() {
    let mut owner = Device::founder(1, Division::Divided);
    let mut manager = owner.admit(2, rights(Role::Manager, &[]));
    let (ring, now, secret) = (manager.ring(), manager.now(), Secret::typed(SECRET));
    for rights in [
        rights(Role::Manager, &[]),
        rights(Role::Member, &["teaches"]),
    ] {
        let terms = InviteTerms {
            rights,
            expires: aeroedge_ids::Millis(0),
            uses: 1,
        };
        let result = invite(
            &manager.history,
            &ring,
            &manager.secrets,
            &terms,
            &secret,
            Stretch::FOR_TESTS,
            now,
            &mut manager.rng,
        );
        assert!(matches!(result, Err(InviteError::NoRight)));
    }
    manager.invite(rights(Role::Member, &[]), 1);
}

#[test]
fn who_was_taken_back_in_writes_again_knowing_it() {
    let mut owner = Device::founder(1, Division::Single);
    let mut member = owner.admit(2, rights(Role::Member, &[]));
    let unknowing = member.claim(Audience::Everyone, 1);
    owner.act(Action::RemoveMember(RemoveMember {
        user: member.user,
        cut_offs: Vec::new(),
    }));
    owner.act(Action::SetRole(SetRole {
        user: member.user,
        rights: rights(Role::Admin, &[]),
        cut_offs: Vec::new(),
    }));
    member.pull(&owner);
    assert!(matches!(
        owner.history.may_write(&unknowing),
        Err(Refusal::ShutOut(_))
    ));
    let author = owner
        .history
        .may_write(&member.claim(Audience::Everyone, 1))
        .unwrap();
    assert_eq!(author.rights.role, Role::Admin);
}

#[test]
fn nothing_counts_from_a_join_that_gave_way() {
    let mut owner = Device::founder(1, Division::Single);
    let seed = owner.invite(rights(Role::Member, &[]), 1);
    let joiners: Vec<_> = (10..12)
        .map(|number| {
            let mut joiner = Device::new(number, owner.history.context());
            joiner.pull(&owner);
            joiner.try_join(&seed, SECRET).unwrap();
            joiner
        })
        .collect();
    // Each counts for who knows only of it; for who knows of both only one does.
    for joiner in &joiners {
        assert!(
            joiner
                .history
                .may_write(&joiner.claim(Audience::Everyone, 1))
                .is_ok()
        );
        owner.pull(joiner);
    }
    let counts = joiners.iter().filter(|joiner| {
        owner
            .history
            .may_write(&joiner.claim(Audience::Everyone, 1))
            .is_ok()
    });
    assert_eq!(counts.count(), 1);
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
