//! A second device of one person: let in by a code, with everything; shut out again, alone.

use aeroedge_device::{PAIRING_MS, PairingError, PairingState, SealingError, WriteError};
use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::Role;
use aeroedge_log::pairing::{Message, PairingSecret};
use rusqlite::params;

use crate::club::{NOW, Peer, carry, carry_control, everyone, pair, synchronise};

/// Lets both say what they have to say, until neither has more. Returns what was refused.
fn speak(one: &mut Peer, other: &mut Peer, place: ContextId) -> Vec<String> {
    let mut refused = Vec::new();
    for _ in 0..6 {
        for turn in 0..2 {
            let (from, to) = if turn == 0 {
                (&*one, &mut *other)
            } else {
                (&*other, &mut *one)
            };
            let known = to.device.control_hashes(place);
            let mut missing = from.device.control_hashes(place);
            missing.retain(|hash| !known.contains(hash));
            let entries = from.device.control_entries(place, &missing, usize::MAX);
            if entries.is_empty() {
                continue;
            }
            if let Err(error) = to.device.receive_control(place, &entries, NOW, &mut to.rng) {
                refused.push(error.to_string());
            }
        }
    }
    refused
}

fn start(old: &mut Peer, new: &mut Peer) -> ContextId {
    let link = old.device.offer_pairing(NOW, &mut old.rng);
    let place = link.secret.place();
    new.device.start_pairing(link, &mut new.rng).unwrap();
    assert_eq!(new.device.pairing_place(), Some(place));
    place
}

fn digits(peer: &Peer) -> u32 {
    match peer.device.pairing_state(NOW) {
        PairingState::Compare(digits) => digits,
        other => panic!("{other:?}"),
    }
}

/// A second device of `old`'s person.
fn paired(old: &mut Peer, number: u8) -> Peer {
    let mut new = Peer::new(number);
    let place = start(old, &mut new);
    assert!(speak(old, &mut new, place).is_empty());
    let shown = digits(old);
    assert_eq!(shown, digits(&new));
    old.device
        .confirm_pairing(shown, NOW, &mut old.rng)
        .unwrap();
    assert!(speak(old, &mut new, place).is_empty());
    assert_eq!(new.device.pairing_state(NOW), PairingState::Done);
    assert_eq!(old.device.pairing_state(NOW), PairingState::Done);
    old.device.end_pairing();
    new.device.end_pairing();
    new
}

#[test]
fn a_second_device_has_all_contexts_and_everything_in_them() {
    let (mut old, mut member, club) = pair(Division::Divided, Role::Member);
    let own = old.found(Division::Single);
    old.write(everyone(own), "p", "personal");
    let staff = Audience::Staff.compartment(club);
    old.write(staff, "s", "staff");
    member.write(everyone(club), "m", "member");
    synchronise(&mut member, &mut old, club);
    let mut new = paired(&mut old, 9);
    assert_eq!(new.device.user(), old.device.user());
    assert_eq!(new.device.contexts().len(), 2);
    for context in [own, club] {
        synchronise(&mut old, &mut new, context);
    }
    assert_eq!(new.notes(), old.notes());
    new.write(everyone(own), "n", "from the second");
    new.write(staff, "t", "staff from the second");
    for context in [own, club] {
        synchronise(&mut new, &mut old, context);
    }
    synchronise(&mut new, &mut member, club);
    assert_eq!(new.notes(), old.notes());
    new.write(everyone(club), "u", "to all");
    synchronise(&mut new, &mut member, club);
    assert!(member.notes().iter().any(|(id, ..)| id == "u"));
}

#[test]
fn a_revoked_device_is_shut_out_alone_and_everywhere() {
    let (mut old, mut member, club) = pair(Division::Single, Role::Member);
    let own = old.found(Division::Single);
    let mut new = paired(&mut old, 9);
    for context in [own, club] {
        synchronise(&mut old, &mut new, context);
        new.write(everyone(context), "kept", "before");
        synchronise(&mut new, &mut old, context);
    }
    let key = new.device.key();
    for context in [own, club] {
        assert!(
            old.device
                .revoke_device(context, key, NOW, &mut old.rng)
                .unwrap()
        );
        assert!(
            !old.device
                .revoke_device(context, key, NOW, &mut old.rng)
                .unwrap()
        );
        new.write(everyone(context), "late", "after");
    }
    // The lost device goes on, and hands what it wrote to whoever takes it.
    carry_control(&old, &mut member, club);
    carry(&new, &mut member, club, everyone(club), 1 << 20);
    synchronise(&mut old, &mut member, club);
    let titles = |peer: &Peer| -> Vec<Option<String>> {
        peer.notes()
            .into_iter()
            .map(|(_, _, title)| title)
            .collect()
    };
    assert_eq!(titles(&member), [Some("before".to_owned())]);
    old.write(everyone(club), "o", "the person goes on");
    synchronise(&mut old, &mut member, club);
    assert_eq!(titles(&member).len(), 2);
    for context in [own, club] {
        carry_control(&old, &mut new, context);
        let error = new.device.write(NOW, &mut new.rng, |tx| {
            tx.execute(
                "INSERT INTO note(id, compartment_id) VALUES ('x', ?1)",
                params![everyone(context).0],
            )
        });
        assert!(matches!(
            error,
            Err(WriteError::Refused(SealingError::ShutOut))
        ));
    }
}

#[test]
fn whoever_is_second_with_the_code_gets_nothing() {
    let mut old = Peer::new(1);
    old.found(Division::Single);
    let mut first = Peer::new(2);
    let mut second = Peer::new(3);
    let link = old.device.offer_pairing(NOW, &mut old.rng);
    let place = link.secret.place();
    first
        .device
        .start_pairing(link.clone(), &mut first.rng)
        .unwrap();
    second.device.start_pairing(link, &mut second.rng).unwrap();
    speak(&mut old, &mut first, place);
    assert!(!speak(&mut old, &mut second, place).is_empty());
    assert!(matches!(
        second.device.pairing_state(NOW),
        PairingState::Failed(_)
    ));
    let shown = digits(&old);
    old.device
        .confirm_pairing(shown, NOW, &mut old.rng)
        .unwrap();
    speak(&mut old, &mut second, place);
    assert!(second.device.contexts().is_empty());
    speak(&mut old, &mut first, place);
    assert_eq!(first.device.contexts().len(), 1);
}

#[test]
fn other_digits_end_it_and_nothing_is_given() {
    let mut old = Peer::new(1);
    let context = old.found(Division::Single);
    let mut new = Peer::new(2);
    let place = start(&mut old, &mut new);
    speak(&mut old, &mut new, place);
    let wrong = (digits(&old) + 1) % 1_000_000;
    let before = old.device.control_hashes(context).len();
    let error = old
        .device
        .confirm_pairing(wrong, NOW, &mut old.rng)
        .unwrap_err();
    assert!(matches!(error, PairingError::OtherDigits), "{error}");
    let error = old
        .device
        .confirm_pairing(wrong, NOW, &mut old.rng)
        .unwrap_err();
    assert!(matches!(error, PairingError::NotWaiting), "{error}");
    speak(&mut old, &mut new, place);
    assert!(new.device.contexts().is_empty());
    assert_eq!(old.device.control_hashes(context).len(), before);
}

#[test]
fn after_ten_minutes_nobody_is_let_in() {
    let mut old = Peer::new(1);
    old.found(Division::Single);
    let mut new = Peer::new(2);
    let place = start(&mut old, &mut new);
    speak(&mut old, &mut new, place);
    let late = Millis(NOW.0 + PAIRING_MS + 1);
    let shown = digits(&old);
    assert!(matches!(
        old.device.pairing_state(late),
        PairingState::Failed(_)
    ));
    let error = old
        .device
        .confirm_pairing(shown, late, &mut old.rng)
        .unwrap_err();
    assert!(matches!(error, PairingError::NotWaiting), "{error}");
    let is_known = |credentials: &[aeroedge_protocol::Credential]| {
        credentials.iter().any(|credential| {
            matches!(credential, aeroedge_protocol::Credential::Invite { context, .. } if *context == place)
        })
    };
    assert!(is_known(&old.device.credentials(NOW)));
    assert!(!is_known(&old.device.credentials(late)));
}

#[test]
fn an_installation_of_somebody_else_is_not_taken_over() {
    let mut old = Peer::new(1);
    old.found(Division::Single);
    let mut other = Peer::new(2);
    other.found(Division::Single);
    let place = start(&mut old, &mut other);
    speak(&mut old, &mut other, place);
    assert!(matches!(
        other.device.pairing_state(NOW),
        PairingState::Failed(_)
    ));
    assert_ne!(old.device.user(), other.device.user());
    assert_eq!(other.device.contexts().len(), 1);
}

#[test]
fn pairing_again_brings_what_was_joined_since() {
    let mut old = Peer::new(1);
    old.found(Division::Single);
    let mut new = paired(&mut old, 2);
    old.found(Division::Divided);
    assert_eq!(new.device.contexts().len(), 1);
    let place = start(&mut old, &mut new);
    speak(&mut old, &mut new, place);
    let shown = digits(&old);
    old.device
        .confirm_pairing(shown, NOW, &mut old.rng)
        .unwrap();
    speak(&mut old, &mut new, place);
    assert_eq!(new.device.contexts().len(), 2);
}

#[test]
fn garbage_from_the_other_side_is_refused_and_changes_nothing() {
    let mut old = Peer::new(1);
    old.found(Division::Single);
    let mut new = Peer::new(2);
    let place = start(&mut old, &mut new);
    let other = PairingSecret::generate(&mut new.rng);
    let foreign = Message::Commit([1; 32]).seal(&other, &mut new.rng);
    for bytes in [vec![1; 10], vec![2; 200], foreign] {
        let refused = old
            .device
            .receive_control(place, &[bytes], NOW, &mut old.rng);
        assert!(refused.is_err());
    }
    assert!(old.device.control_hashes(place).is_empty());
    speak(&mut old, &mut new, place);
    assert_eq!(digits(&old), digits(&new));
}
