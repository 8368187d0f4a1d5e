//! Contexts and members say of themselves what was written.

use aeroedge_aviation_store::contexts::{
    MemberCard, Profile, insert_member, insert_profile, members, profiles,
};
use rusqlite::Connection;

use crate::support::{ELSEWHERE, HERE, NOW, PILOT, database, new_row};

fn filled() -> (Profile, MemberCard) {
    let profile = Profile {
        name: Some("Lakeside Flyers".into()),
        kind: Some("club".into()),
        tier: Some("small_group".into()),
        home_airport: Some("KPAO".into()),
    };
    let card = MemberCard {
        user: Some(PILOT),
        name: Some("Avery Example".into()),
        role: Some("owner".into()),
        joined_at: Some(NOW),
        status: Some("active".into()),
    };
    (profile, card)
}

fn check(conn: &Connection, count: usize) {
    let (profile, card) = filled();
    let profiles = profiles(conn, &[HERE, ELSEWHERE]).unwrap();
    assert_eq!(profiles.len(), count);
    assert!(profiles.iter().all(|record| record.value == profile));
    let members = members(conn, &[HERE, ELSEWHERE]).unwrap();
    assert_eq!(members.len(), count);
    assert!(members.iter().all(|record| record.value == card));
}

#[test]
fn profiles_and_members_come_back_as_they_went_in() {
    let conn = database();
    let (profile, card) = filled();
    for (compartment, count) in [(HERE, 1), (ELSEWHERE, 2)] {
        insert_profile(&conn, new_row("p", compartment), &profile).unwrap();
        insert_member(&conn, new_row("m", compartment), &card).unwrap();
        check(&conn, count);
    }
    assert_eq!(members(&conn, &[]).unwrap(), []);
}
