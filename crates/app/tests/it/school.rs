//! A divided school: what a student's device holds of other students, searched byte by byte and with every key it has.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::contexts::{self, ContextKind, NewContext};
use aeroedge_app::installation::Installation;
use aeroedge_aviation_store::tables::{Audience as TableAudience, MERGED};
use aeroedge_ids::{CompartmentId, ContextId, ControlHash, Millis};
use aeroedge_log::compartment::Audience;
use aeroedge_log::control::Role;
use aeroedge_log::entry::{EntryRef, Opener};
use aeroedge_log::keyring::KeyRing;
use aeroedge_log::keys::EpochKey;
use tempfile::TempDir;

use crate::support::{NOW, admit, exchange, installation_of, keeps, plant};

const LATER: Millis = Millis(NOW.0 + 60_000);

struct School {
    id: ContextId,
    chief: (TempDir, Installation),
    teacher: (TempDir, Installation),
    /// About whom there are records.
    subject: (TempDir, Installation),
    /// Who shall not have them.
    other: (TempDir, Installation),
}

impl School {
    fn new() -> Self {
        let mut chief = installation_of("Chief Example");
        let new = NewContext {
            name: "Bay School".into(),
            kind: ContextKind::School,
            home_airport: None,
            own_name: None,
        };
        let id = contexts::create(&mut chief.1.device, &new, NOW).unwrap();
        chief.1.device.make_durable().unwrap();
        let mut enter = |name: &str, role| {
            let mut joiner = installation_of(name);
            admit(&mut chief.1, &mut joiner.1, id, role);
            joiner
        };
        let teacher = enter("Teacher Example", Role::Manager);
        let subject = enter("Subject Example", Role::Member);
        let other = enter("Other Example", Role::Member);
        Self {
            id,
            chief,
            teacher,
            subject,
            other,
        }
    }

    fn exchange(&mut self) {
        for _ in 0..2 {
            for one in [&mut self.teacher, &mut self.subject, &mut self.other] {
                exchange(&mut self.chief.1, &mut one.1, self.id, LATER);
            }
        }
    }

    fn of_subject(&self) -> CompartmentId {
        Audience::Person(self.subject.1.device.user()).compartment(self.id)
    }

    /// Rows in every table that is about one person or for staff, saying `canary` in every text. The id is the canary.
    fn record(&mut self, canary: &str) {
        let person = self.of_subject();
        let staff = Audience::Staff.compartment(self.id);
        let rows: Vec<(&str, CompartmentId, String)> = MERGED
            .iter()
            .filter_map(|table| match table.audience {
                TableAudience::PersonAndStaff | TableAudience::OfItsOwner => {
                    Some((table.name, person))
                }
                TableAudience::Staff => Some((table.name, staff)),
                TableAudience::Everyone => None,
            })
            .map(|(table, compartment)| (table, compartment, format!("{canary} {table}")))
            .collect();
        assert!(rows.len() > 25, "{}", rows.len());
        let rows: Vec<_> = rows
            .iter()
            .map(|(table, compartment, text)| (*table, *compartment, text.as_str()))
            .collect();
        plant(&mut self.chief.1, &rows);
        self.exchange();
    }

    fn set_role(&mut self, role: Role, permissions: &[&str]) {
        let user = self.other.1.device.user();
        let permissions: Vec<String> = permissions.iter().map(|word| (*word).to_owned()).collect();
        let device = &mut self.chief.1.device;
        assert!(contexts::set_role(device, self.id, user, role, &permissions, LATER).unwrap());
        self.exchange();
    }
}

/// Everything that an installation's keys open of what it holds: every entry of every context under every key and
/// combination of keys that it can make out.
fn opened(installation: &Installation) -> (usize, Vec<Vec<u8>>) {
    let device = &installation.device;
    let secrets = device.secrets_for_backup().unwrap();
    let mut rings = Vec::new();
    for context in device.contexts() {
        let roster = device.roster(context.id).unwrap();
        let mut ring = KeyRing::new(&secrets);
        ring.learn(roster);
        let keys: Vec<EpochKey> = roster
            .epochs()
            .filter_map(|epoch| ring.key(epoch.hash).cloned())
            .collect();
        let combined = roster.compartments().filter_map(|compartment| {
            let parts: &[ControlHash] = &compartment.current;
            ring.combined_key(parts)
        });
        let keys: Vec<EpochKey> = keys.iter().cloned().chain(combined).collect();
        rings.extend(keys);
    }
    assert!(rings.len() > 2);
    let mut opener = Opener::new().unwrap();
    let mut texts = Vec::new();
    let entries: Vec<Vec<u8>> = device
        .connection()
        .prepare("SELECT bytes FROM device_entry")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for bytes in &entries {
        let entry = EntryRef::parse(bytes).unwrap();
        for key in &rings {
            if let Ok(text) = opener.open(&entry, key) {
                texts.push(text.to_vec());
            }
        }
    }
    (entries.len(), texts)
}

/// Whether a text stands anywhere: in the files of the data folder, or in what the keys open.
fn has(installation: &Installation, text: &str) -> bool {
    let sealed = opened(installation).1.iter().any(|opened| {
        opened
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    });
    sealed || keeps(installation, text)
}

#[test]
fn a_students_device_yields_nothing_of_another_student() {
    let mut school = School::new();
    school.record("first canary");
    for (who, sees) in [
        (&school.chief, true),
        (&school.teacher, true),
        (&school.subject, true),
        (&school.other, false),
    ] {
        assert_eq!(has(&who.1, "first canary medical"), sees);
        assert_eq!(has(&who.1, "first canary charge"), sees);
        assert_eq!(has(&who.1, "first canary person"), sees);
        assert_eq!(has(&who.1, "first canary lesson_result"), sees);
    }
    assert!(!has(&school.other.1, "first canary"));
    // The subject reads what is about it, and not what staff writes for staff.
    assert!(!has(&school.subject.1, "first canary person_remark"));
    assert!(has(&school.teacher.1, "first canary person_remark"));
    // The search itself finds: what everyone reads is there, sealed and in the clear.
    let (entries, texts) = opened(&school.other.1);
    assert!(entries > 0 && texts.len() >= entries);
    assert!(has(&school.other.1, "Bay School"));
}

#[test]
fn promotion_and_demotion_change_it_from_then_on() {
    let mut school = School::new();
    school.record("zebra one");
    assert!(!has(&school.other.1, "zebra one"));
    school.set_role(Role::Member, &["instructor"]);
    assert!(has(&school.other.1, "zebra one medical"));
    assert!(has(&school.other.1, "zebra one person_remark"));
    school.record("zebra two");
    assert!(has(&school.other.1, "zebra two charge"));
    school.set_role(Role::Member, &[]);
    school.record("zebra three");
    assert!(has(&school.teacher.1, "zebra three charge"));
    assert!(has(&school.subject.1, "zebra three charge"));
    assert!(!has(&school.other.1, "zebra three"));
    // What it read while it might stays on it: see decision 0011.
    assert!(has(&school.other.1, "zebra two charge"));
}
