//! Strong removal: what is done by whom someone shuts out counts only as far as that one knew of it.

use aeroedge_ids::{ControlHash, UserId};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::context::{
    JoinError, add_device, join, offer_device, offer_recovery_device, open_writer, wrap_owed,
};
use aeroedge_log::control::{Action, ControlEntry, RemoveMember, RevokeDevice, Role, SetRole};
use aeroedge_log::history::{Refusal, UnknownChain};
use aeroedge_log::invite::{Secret, Stretch};
use aeroedge_log::roster::{Rejection, Roster};

use crate::world::{Device, SECRET, rights};

/// An owner, two admins, the first of them senior, and a member, who all know the same.
fn club() -> [Device; 4] {
    let mut owner = Device::founder(1, Division::Divided);
    let senior = owner.admit(2, rights(Role::Admin, &[]));
    let junior = owner.admit(3, rights(Role::Admin, &[]));
    let member = owner.admit(4, rights(Role::Member, &[]));
    let mut all = [owner, senior, junior, member];
    meet(&mut all);
    all
}

fn meet(devices: &mut [Device]) {
    for device in 0..devices.len() {
        for other in 0..devices.len() {
            if device != other {
                let (low, high) = devices.split_at_mut(device.max(other));
                let (here, there) = (&mut low[device.min(other)], &mut high[0]);
                if device < other {
                    here.pull(there);
                } else {
                    there.pull(here);
                }
            }
        }
    }
}

/// Who is who and may do what, and under which keys.
fn effect(roster: &Roster) -> String {
    let members: Vec<_> = roster
        .members()
        .map(|member| (member.user, member.rights.clone(), member.removed))
        .collect();
    let devices: Vec<_> = roster
        .devices()
        .map(|device| (device.key, device.user, device.revoked, device.stale))
        .collect();
    let writers: Vec<_> = roster.writers().collect();
    let invites: Vec<_> = roster.invites().collect();
    let compartments: Vec<_> = roster.compartments().collect();
    format!("{members:?} {devices:?} {writers:?} {invites:?} {compartments:?}")
}

const LONG_AGO: u64 = 1_000_000_000_000;
const END_OF_TIME: u64 = (1 << 48) - 1;

#[test]
fn of_two_admins_who_remove_each_other_the_senior_stays() {
    let [_, mut senior, mut junior, _] = club();
    // Whoever did it first, by the clocks.
    for senior_first in [true, false] {
        let (mut senior, mut junior) = (senior.twin(), junior.twin());
        if senior_first {
            junior.now();
        } else {
            senior.now();
        }
        let by_senior = senior.remove(junior.user);
        let by_junior = junior.remove(senior.user);
        senior.pull(&junior);
        assert_eq!(senior.rejection(&by_senior), None);
        assert_eq!(senior.rejection(&by_junior), Some(Rejection::Outranked));
        assert_eq!(senior.role_of(senior.user), Some(Role::Admin));
        assert_eq!(senior.role_of(junior.user), None);
    }
    // One who knew of the removal does not undo it.
    let by_junior = junior.remove(senior.user);
    senior.pull(&junior);
    let late = senior.remove(junior.user);
    assert_eq!(senior.rejection(&by_junior), None);
    assert_eq!(senior.rejection(&late), Some(Rejection::NotAMember));
}

#[test]
fn owners_go_before_admins_however_young() {
    let [mut owner, mut senior, mut junior, _] = club();
    owner.set_role(junior.user, rights(Role::Owner, &[]));
    junior.pull(&owner);
    let by_owner = junior.remove(senior.user);
    let by_admin = senior.remove(junior.user);
    let other = senior.set_role(owner.user, rights(Role::Member, &[]));
    junior.pull(&senior);
    assert_eq!(junior.rejection(&by_owner), None);
    assert!(junior.rejection(&by_admin).is_some());
    assert!(junior.rejection(&other).is_some());
    assert_eq!(junior.role_of(junior.user), Some(Role::Owner));
}

#[test]
fn of_three_who_remove_each_other_in_a_circle_the_eldest_settles_it() {
    let mut owner = Device::founder(1, Division::Single);
    let mut admins: Vec<_> = (2..5)
        .map(|number| owner.admit(number, rights(Role::Admin, &[])))
        .collect();
    for admin in &mut admins {
        admin.pull(&owner);
    }
    let users: Vec<_> = admins.iter().map(|admin| admin.user).collect();
    for (admin, other) in [(2, 0), (1, 2), (0, 1)] {
        admins[admin].remove(users[other]);
    }
    for admin in &admins {
        owner.pull(admin);
    }
    let roles: Vec<_> = users.iter().map(|user| owner.role_of(*user)).collect();
    assert_eq!(roles, [Some(Role::Admin), None, Some(Role::Admin)]);
}

#[test]
fn what_a_removed_admin_did_meanwhile_does_not_stand_also_against_the_younger() {
    let [mut owner, mut senior, mut junior, member] = club();
    // The senior removes a member while the junior removes the senior.
    let by_senior = senior.remove(member.user);
    let by_junior = junior.remove(senior.user);
    owner.pull(&senior);
    owner.pull(&junior);
    assert_eq!(owner.rejection(&by_junior), None);
    assert_eq!(owner.rejection(&by_senior), Some(Rejection::ShutOut));
    assert_eq!(owner.role_of(member.user), Some(Role::Member));
}

#[test]
fn a_void_removal_frees_whom_it_struck() {
    let [mut owner, mut senior, mut junior, member] = club();
    // The owner removes the senior, who removes the junior, who removes the member.
    let third = junior.remove(member.user);
    let second = senior.remove(junior.user);
    let first = owner.remove(senior.user);
    owner.pull(&senior);
    owner.pull(&junior);
    assert_eq!(owner.rejection(&first), None);
    assert_eq!(owner.rejection(&second), Some(Rejection::ShutOut));
    assert_eq!(owner.rejection(&third), None);
    let roles = [&senior, &junior, &member].map(|device| owner.role_of(device.user));
    assert_eq!(roles, [None, Some(Role::Admin), None]);
}

/// Everything that a removed admin could try, each knowing only what was known before the removal.
fn attempts(gone: &Device, others: &[UserId], before: &Device) -> Vec<Vec<Action>> {
    let mut gone = gone.twin();
    let context = gone.history.context();
    let mut attempts = Vec::new();
    let puppet = gone.invite(rights(Role::Admin, &[]), 9);
    let invited = gone.history.heads()[0];
    attempts.push(vec![gone.history.get(invited).unwrap().action().clone()]);
    for user in others {
        let (user, cut_offs) = (*user, Vec::new());
        attempts.push(vec![Action::RemoveMember(RemoveMember { user, cut_offs })]);
        let cut_offs = Vec::new();
        let rights = rights(Role::Admin, &["all"]);
        let change = SetRole {
            user,
            rights,
            cut_offs,
        };
        attempts.push(vec![Action::SetRole(change)]);
    }
    for device in before.history.roster().unwrap().devices() {
        if device.user != gone.user {
            let (device, cut_offs) = (device.key, Vec::new());
            attempts.push(vec![Action::RevokeDevice(RevokeDevice {
                device,
                cut_offs,
            })]);
        }
    }
    for invite in before.history.roster().unwrap().invites() {
        attempts.push(vec![Action::VoidInvite(invite.key)]);
    }
    attempts.push(vec![Action::VoidInvite(puppet.key())]);
    let mut gone = before.twin_as(&gone);
    for audience in [
        Audience::Everyone,
        Audience::Staff,
        Audience::Person(gone.user),
    ] {
        attempts.push(vec![gone.rotate(audience).action().clone()]);
    }
    let mut gone = before.twin_as(&gone);
    let mut phone = Device::new(99, context);
    for recovery in [false, true] {
        let offer = if recovery {
            offer_recovery_device
        } else {
            offer_device_plainly
        };
        let (offer, _) = offer(&phone.secrets, context, gone.user, &mut phone.rng);
        let (ring, now) = (gone.ring(), gone.now());
        let secrets = &gone.secrets;
        let added = add_device(&gone.history, &ring, secrets, offer, now, &mut gone.rng);
        attempts.push(vec![added.unwrap().action().clone()]);
    }
    let now = gone.now();
    let (opened, _) = open_writer(&gone.history, &gone.secrets, now, &mut gone.rng);
    attempts.push(vec![opened.action().clone()]);
    attempts.push(vec![Action::Acknowledge]);
    attempts
}

fn offer_device_plainly(
    secrets: &aeroedge_log::secrets::DeviceSecrets,
    context: aeroedge_ids::ContextId,
    user: UserId,
    rng: &mut rand_chacha::ChaCha20Rng,
) -> (
    aeroedge_log::context::DeviceOffer,
    aeroedge_log::keys::WriterSecret,
) {
    offer_device(secrets, context, user, rng)
}

#[test]
fn nothing_that_a_removed_admin_dates_back_or_forward_has_any_effect() {
    let [mut owner, senior, mut junior, member] = club();
    let open = owner.invite(rights(Role::Admin, &[]), 5);
    junior.pull(&owner);
    let (before, old_heads) = (owner.twin(), owner.history.heads());
    let others = [owner.user, senior.user, member.user];
    let attempts = attempts(&junior, &others, &before);
    owner.remove(junior.user);
    let expected = effect(&owner.history.roster().unwrap());
    for at in [LONG_AGO, END_OF_TIME] {
        for actions in &attempts {
            let mut owner = owner.twin();
            let mut heads = old_heads.clone();
            for action in actions {
                let entry = junior.forge(&heads, at, action.clone());
                owner.insert(entry.clone());
                heads = vec![entry.hash()];
                assert!(owner.rejection(&entry).is_some() || *action == Action::Acknowledge);
            }
            assert_eq!(
                effect(&owner.history.roster().unwrap()),
                expected,
                "{actions:?} at {at}"
            );
        }
    }
    // Nor does it come back under another name by the link it kept, at whatever heads.
    for at in [LONG_AGO, END_OF_TIME] {
        let mut puppet = Device::new(77, owner.history.context());
        puppet.pull(&before);
        let joined = join(
            &puppet.history,
            &puppet.secrets,
            &open,
            &Secret::typed(SECRET),
            Stretch::FOR_TESTS,
            puppet.user,
            aeroedge_crdt::hlc::Hlc::at(aeroedge_ids::Millis(at)),
            &mut puppet.rng,
        )
        .unwrap();
        let mut owner = owner.twin();
        for entry in joined.entries {
            owner.insert(entry.clone());
            assert!(owner.rejection(&entry).is_some());
        }
        assert_eq!(effect(&owner.history.roster().unwrap()), expected);
    }
}

#[test]
fn what_a_removed_admin_did_before_stands() {
    let [mut owner, _, mut junior, mut member] = club();
    let promoted = junior.set_role(member.user, rights(Role::Manager, &[]));
    let rotated = junior.rotate(Audience::Everyone);
    let newcomer = junior.admit(9, rights(Role::Member, &[]));
    owner.pull(&junior);
    owner.remove(junior.user);
    for entry in [&promoted, &rotated] {
        assert_eq!(owner.rejection(entry), None);
    }
    assert_eq!(owner.role_of(member.user), Some(Role::Manager));
    assert_eq!(owner.role_of(newcomer.user), Some(Role::Member));
    // Also for who hears of the removal before the rest.
    member.pull(&owner);
    assert_eq!(member.role_of(newcomer.user), Some(Role::Member));
}

#[test]
fn whoever_had_not_heard_of_a_removal_does_not_undo_it() {
    let [owner, senior, _, member] = club();
    for senior_first in [true, false] {
        let (mut owner, mut senior) = (owner.twin(), senior.twin());
        if senior_first {
            owner.now();
        } else {
            senior.now();
        }
        senior.set_role(member.user, rights(Role::Manager, &[]));
        owner.remove(member.user);
        owner.pull(&senior);
        assert_eq!(owner.role_of(member.user), None);
        // Who has heard of it takes the member back in.
        senior.pull(&owner);
        senior.set_role(member.user, rights(Role::Manager, &[]));
        assert_eq!(senior.role_of(member.user), Some(Role::Manager));
    }
}

#[test]
fn a_demotion_holds_against_a_promotion_at_the_same_time() {
    let [owner, senior, _, member] = club();
    for senior_first in [true, false] {
        let (mut owner, mut senior) = (owner.twin(), senior.twin());
        if senior_first {
            owner.now();
        } else {
            senior.now();
        }
        senior.set_role(member.user, rights(Role::Manager, &["bills"]));
        owner.set_role(member.user, rights(Role::ReadOnly, &[]));
        owner.pull(&senior);
        assert_eq!(owner.role_of(member.user), Some(Role::ReadOnly));
        assert!(
            owner
                .history
                .may_write(&member.claim(Audience::Everyone, 1), &UnknownChain)
                .is_err()
        );
    }
}

#[test]
fn a_demoted_admin_keeps_what_needs_no_admin() {
    let [mut owner, mut senior, _, member] = club();
    let now = senior.now();
    let (opened, _) = open_writer(&senior.history, &senior.secrets, now, &mut senior.rng);
    senior.insert(opened.clone());
    let removed = senior.remove(member.user);
    let acknowledged = senior.act(Action::Acknowledge);
    owner.set_role(senior.user, rights(Role::Member, &[]));
    owner.pull(&senior);
    assert_eq!(owner.rejection(&opened), None);
    assert_eq!(owner.rejection(&removed), Some(Rejection::NoRight));
    assert_eq!(owner.rejection(&acknowledged), None);
    assert_eq!(owner.role_of(member.user), Some(Role::Member));
}

#[test]
fn a_demotion_from_staff_exposes_all_that_staff_reads() {
    let [mut owner, mut senior, _, member] = club();
    let demoted = owner.set_role(senior.user, rights(Role::Member, &[]));
    let roster = owner.history.roster().unwrap();
    for compartment in roster.compartments() {
        let still_reads = matches!(compartment.audience, Audience::Everyone)
            || compartment.audience == Audience::Person(senior.user);
        let exposed = compartment.exposed_by.contains(&demoted.hash());
        assert_eq!(exposed, !still_reads, "{:?}", compartment.audience);
    }
    let staff = owner.rotate(Audience::Staff);
    let person = owner.rotate(Audience::Person(member.user));
    senior.pull(&owner);
    assert!(senior.ring().key(staff.hash()).is_none());
    assert!(senior.ring().key(person.hash()).is_none());
    let promoted = owner.set_role(senior.user, rights(Role::Manager, &[]));
    assert_eq!(owner.rejection(&promoted), None);
    let (ring, now) = (owner.ring(), owner.now());
    let wraps = wrap_owed(
        &owner.history,
        &ring,
        &owner.secrets,
        100,
        now,
        &mut owner.rng,
    );
    owner.insert(wraps.unwrap());
    senior.pull(&owner);
    assert!(senior.ring().key(person.hash()).is_some());
}

#[test]
fn members_who_start_an_epoch_after_a_removal_at_once_all_do() {
    let mut owner = Device::founder(1, Division::Single);
    let gone = owner.admit(2, rights(Role::Member, &[]));
    let mut members: Vec<_> = (3..6)
        .map(|number| owner.admit(number, rights(Role::Member, &[])))
        .collect();
    owner.remove(gone.user);
    let epochs: Vec<_> = members
        .iter_mut()
        .map(|member| {
            member.pull(&owner);
            member.rotate(Audience::Everyone)
        })
        .collect();
    for member in &members {
        owner.pull(member);
    }
    for epoch in &epochs {
        assert_eq!(owner.rejection(epoch), None);
    }
    let everyone = owner.compartment(Audience::Everyone);
    let roster = owner.history.roster().unwrap();
    assert_eq!(roster.compartment(everyone).unwrap().current.len(), 3);
    assert!(owner.ring().current(&roster, everyone).is_some());
    assert!(roster.compartment(everyone).unwrap().exposed_by.is_empty());
    // Now nothing is exposed, and a member has no reason to.
    let needless = members[0].twin();
    let mut needless = needless;
    needless.pull(&owner);
    let needless_epoch = needless.rotate(Audience::Everyone);
    assert_eq!(
        needless.rejection(&needless_epoch),
        Some(Rejection::NoRight)
    );
}

#[test]
fn an_admin_removes_no_owner_by_dating_back_to_before_they_were_one() {
    let [mut owner, senior, _, member] = club();
    let old_heads = owner.history.heads();
    owner.set_role(member.user, rights(Role::Owner, &[]));
    let expected = effect(&owner.history.roster().unwrap());
    let attempts = [
        Action::RemoveMember(RemoveMember {
            user: member.user,
            cut_offs: Vec::new(),
        }),
        Action::SetRole(SetRole {
            user: member.user,
            rights: rights(Role::ReadOnly, &[]),
            cut_offs: Vec::new(),
        }),
        Action::RevokeDevice(RevokeDevice {
            device: member.secrets.device(),
            cut_offs: Vec::new(),
        }),
    ];
    for at in [LONG_AGO, END_OF_TIME] {
        for action in &attempts {
            let mut owner = owner.twin();
            owner.insert(senior.forge(&old_heads, at, action.clone()));
            assert_eq!(effect(&owner.history.roster().unwrap()), expected);
        }
    }
}

#[test]
fn an_entry_under_rights_that_a_removed_admin_gave_meanwhile_does_not_count() {
    let [mut owner, _, mut junior, mut member] = club();
    junior.set_role(member.user, rights(Role::Member, &["teaches"]));
    member.pull(&junior);
    let claim = member.claim(Audience::Staff, 1);
    assert!(junior.history.may_write(&claim, &UnknownChain).is_ok());
    owner.remove(junior.user);
    owner.pull(&member);
    let staff = owner.compartment(Audience::Staff);
    assert_eq!(
        owner.history.may_write(&claim, &UnknownChain),
        Err(Refusal::NotInAudience(staff))
    );
}

#[test]
fn what_was_sealed_under_an_epoch_that_came_to_nothing_still_opens() {
    let [mut owner, _, mut junior, mut member] = club();
    let rotated = junior.rotate(Audience::Everyone);
    member.pull(&junior);
    let claim = member.claim(Audience::Everyone, 1);
    assert_eq!(claim.epoch, rotated.hash());
    owner.remove(junior.user);
    owner.pull(&member);
    assert_eq!(owner.rejection(&rotated), Some(Rejection::ShutOut));
    let author = owner.history.may_write(&claim, &UnknownChain).unwrap();
    assert!(owner.ring().combined_key(&author.epochs).is_some());
    // Nobody writes under it who knows better.
    member.pull(&owner);
    assert_ne!(member.claim(Audience::Everyone, 2).epoch, rotated.hash());
}

#[test]
fn a_removed_member_comes_back_by_invite_with_a_device_of_before() {
    let [mut owner, _, _, mut member] = club();
    let old = member.claim(Audience::Everyone, 1);
    owner.remove(member.user);
    owner.rotate(Audience::Everyone);
    let seed = owner.invite(rights(Role::Manager, &[]), 2);
    member.pull(&owner);
    let mut other = Device::new(98, owner.history.context());
    other.user = member.user;
    other.pull(&owner);
    assert_eq!(other.try_join(&seed, SECRET), Err(JoinError::OtherDevice));
    member.try_join(&seed, SECRET).unwrap();
    owner.pull(&member);
    assert_eq!(owner.role_of(member.user), Some(Role::Manager));
    let judge = |claim| owner.history.may_write(claim, &UnknownChain).map(|_| ());
    assert!(matches!(judge(&old), Err(Refusal::ShutOut(_))));
    let new = member.claim(Audience::Everyone, 2);
    assert_eq!(new.writer, old.writer);
    assert_eq!(judge(&new), Ok(()));
}

#[test]
fn who_joined_in_vain_is_taken_in_by_an_admin_or_a_new_link_with_all_they_wrote() {
    let [mut owner, ..] = club();
    let seed = owner.invite(rights(Role::Member, &[]), 5);
    let mut newcomer = Device::new(9, owner.history.context());
    newcomer.pull(&owner);
    newcomer.try_join(&seed, SECRET).unwrap();
    owner.rotate(Audience::Everyone);
    let fresh = owner.invite(rights(Role::Member, &[]), 5);
    let join = newcomer
        .history
        .entries()
        .find(|entry| matches!(entry.action(), Action::Join(join) if join.user == newcomer.user));
    let join = join.unwrap().clone();
    let written = newcomer.claim(Audience::Everyone, 1);
    owner.pull(&newcomer);
    assert_eq!(owner.rejection(&join), Some(Rejection::InviteVoid));
    assert!(owner.history.may_write(&written, &UnknownChain).is_err());
    assert!(owner.history.is_settled(
        written.writer,
        written.compartment,
        written.seq,
        &UnknownChain
    ));
    newcomer.pull(&owner);
    let mut by_admin = owner.twin();
    by_admin.set_role(newcomer.user, rights(Role::Manager, &[]));
    assert_eq!(by_admin.role_of(newcomer.user), Some(Role::Manager));
    newcomer.try_join(&fresh, SECRET).unwrap();
    let mut by_link = owner.twin();
    by_link.pull(&newcomer);
    assert_eq!(by_link.role_of(newcomer.user), Some(Role::Member));
    for owner in [by_admin, by_link] {
        assert_eq!(owner.rejection(&join), None);
        assert!(owner.history.may_write(&written, &UnknownChain).is_ok());
    }
}

#[test]
fn nobody_is_pushed_out_by_a_withdrawal_dated_back_once_an_admin_has_set_their_role() {
    let [mut owner, senior, ..] = club();
    let seed = owner.invite(rights(Role::Member, &[]), 5);
    let before = owner.history.heads();
    let mut newcomer = Device::new(9, owner.history.context());
    newcomer.pull(&owner);
    newcomer.try_join(&seed, SECRET).unwrap();
    owner.pull(&newcomer);
    owner.set_role(newcomer.user, rights(Role::Manager, &[]));
    owner.insert(senior.forge(&before, LONG_AGO, Action::VoidInvite(seed.key())));
    assert_eq!(owner.role_of(newcomer.user), Some(Role::Manager));
}

#[test]
fn copying_an_invite_harms_nobody_who_joined_by_it() {
    let [mut owner, _, _, member] = club();
    owner.set_role(member.user, rights(Role::Manager, &[]));
    let before = owner.history.heads();
    let seed = owner.invite(rights(Role::Member, &[]), 5);
    let offer = owner.history.heads();
    let Action::Invite(offer) = owner.history.get(offer[0]).unwrap().action().clone() else {
        panic!("an invite comes last")
    };
    let mut newcomer = Device::new(9, owner.history.context());
    newcomer.pull(&owner);
    newcomer.try_join(&seed, SECRET).unwrap();
    owner.pull(&newcomer);
    let mut other = offer.clone();
    other.consent = [1; 32];
    for (offer, at) in [(offer, LONG_AGO), (other, LONG_AGO - 1)] {
        let copy = member.forge(&before, at, Action::Invite(offer));
        let void = member.forge(&[copy.hash()], at + 1, Action::VoidInvite(seed.key()));
        owner.insert(copy);
        owner.insert(void);
        assert_eq!(owner.role_of(newcomer.user), Some(Role::Member));
    }
}

#[test]
fn nobody_takes_a_members_name_with_an_invite_of_someone_lower() {
    let [mut owner, _, _, mut member] = club();
    owner.set_role(member.user, rights(Role::Manager, &[]));
    member.pull(&owner);
    let seed = owner.invite(rights(Role::Member, &[]), 1);
    let trap = member.invite(rights(Role::Member, &[]), 1);
    let mut newcomer = Device::new(9, owner.history.context());
    newcomer.pull(&owner);
    // By the clocks the thief joins first.
    for _ in 0..10 {
        newcomer.now();
    }
    newcomer.try_join(&seed, SECRET).unwrap();
    let mut thief = Device::new(10, owner.history.context());
    thief.user = newcomer.user;
    thief.pull(&member);
    thief.try_join(&trap, SECRET).unwrap();
    for order in [[&newcomer, &thief], [&thief, &newcomer]] {
        let mut owner = owner.twin();
        for device in order {
            owner.pull(device);
        }
        let roster = owner.history.roster().unwrap();
        assert!(roster.device(newcomer.secrets.device()).is_some());
        assert!(roster.device(thief.secrets.device()).is_none());
    }
}

#[test]
fn a_recovery_sheet_beats_the_thief_of_a_device_at_the_same_time() {
    let [_, _, _, mut member] = club();
    let context = member.history.context();
    let mut sheet = Device::new(42, context);
    sheet.user = member.user;
    let (offer, writer) =
        offer_recovery_device(&sheet.secrets, context, member.user, &mut sheet.rng);
    sheet.secrets.add_writer(context, writer);
    let (ring, now) = (member.ring(), member.now());
    let secrets = &member.secrets;
    let added = add_device(&member.history, &ring, secrets, offer, now, &mut member.rng);
    member.insert(added.unwrap());
    sheet.pull(&member);
    // The thief of the first device makes the person leave, while the sheet shuts the device out.
    let left = member.remove(member.user);
    sheet.act(Action::RevokeDevice(RevokeDevice {
        device: member.secrets.device(),
        cut_offs: Vec::new(),
    }));
    sheet.pull(&member);
    assert!(sheet.rejection(&left).is_some());
    assert_eq!(sheet.role_of(sheet.user), Some(Role::Member));
}

#[test]
fn an_act_from_the_end_of_time_pins_nothing() {
    let [mut owner, mut senior, _, member] = club();
    let heads = owner.history.heads();
    let change = SetRole {
        user: member.user,
        rights: rights(Role::Manager, &[]),
        cut_offs: Vec::new(),
    };
    let pinned = senior.forge(&heads, END_OF_TIME, Action::SetRole(change));
    owner.insert(pinned);
    assert_eq!(owner.role_of(member.user), Some(Role::Manager));
    owner.set_role(member.user, rights(Role::Member, &["bills"]));
    assert_eq!(owner.role_of(member.user), Some(Role::Member));
    owner.remove(member.user);
    senior.pull(&owner);
    assert_eq!(senior.role_of(member.user), None);
    // Heads from the end of time do not crowd out those that matter.
    for number in 0..20 {
        let action = Action::Unknown {
            number: 5000 + number,
            body: vec![0x90],
        };
        owner.insert(member.forge(&heads, END_OF_TIME, action));
    }
    let rotated = owner.rotate(Audience::Everyone);
    let point = owner.writing_point(Audience::Everyone).unwrap();
    assert_eq!(point.epoch, rotated.hash());
    let named: Vec<ControlHash> = point.heads;
    assert!(named.contains(&rotated.hash()));
    // Also among acts that count.
    for number in 0..20 {
        let acknowledged = Action::AcknowledgeCheckpoints(vec![ControlHash([number; 32])]);
        owner.insert(senior.forge(&[rotated.hash()], END_OF_TIME - 1, acknowledged));
    }
    let promoted = SetRole {
        user: senior.user,
        rights: rights(Role::Owner, &[]),
        cut_offs: Vec::new(),
    };
    let at = rotated.hlc().time().0 + 1;
    let promoted = owner.forge(&[rotated.hash()], at, Action::SetRole(promoted));
    owner.insert(promoted.clone());
    let point = owner.writing_point(Audience::Everyone).unwrap();
    assert!(point.heads.contains(&promoted.hash()));
    assert!(owner.history.heads_to_follow().contains(&promoted.hash()));
}

#[test]
fn a_strangers_act_is_refused_whatever_came_before_it() {
    let [mut owner, _, _, _] = club();
    let before = owner.history.heads();
    let newcomer = owner.admit(9, rights(Role::Admin, &[]));
    // It signs as if it had known what was before it joined.
    let early = newcomer.forge(&before, LONG_AGO, Action::Acknowledge);
    let refused =
        |device: &mut Device, entry: &ControlEntry| device.history.insert(entry.clone()).is_err();
    assert!(refused(&mut owner, &early));
}

#[test]
fn who_may_not_withdraw_an_invite_pushes_nobody_out_by_leaving_or_withdrawing() {
    let [mut owner, _, _, member] = club();
    let seed = owner.invite(rights(Role::Member, &[]), 5);
    let before = owner.history.heads();
    let mut newcomer = Device::new(9, owner.history.context());
    newcomer.pull(&owner);
    newcomer.try_join(&seed, SECRET).unwrap();
    owner.pull(&newcomer);
    let leaving = RemoveMember {
        user: member.user,
        cut_offs: Vec::new(),
    };
    let leaving = member.forge(&before, LONG_AGO, Action::RemoveMember(leaving));
    let withdrawing = member.forge(&before, LONG_AGO, Action::VoidInvite(seed.key()));
    owner.insert(withdrawing.clone());
    assert_eq!(owner.rejection(&withdrawing), Some(Rejection::NoRight));
    owner.insert(leaving.clone());
    assert_eq!(owner.rejection(&leaving), None);
    assert_eq!(owner.role_of(newcomer.user), Some(Role::Member));
}
