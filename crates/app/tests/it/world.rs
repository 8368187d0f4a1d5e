//! A club and a school with one person in both, and the exchange between their devices.

#![expect(clippy::unwrap_used, reason = "a test may end here")]

use aeroedge_app::contexts::{self, ContextKind, NewContext};
use aeroedge_app::flights;
use aeroedge_app::installation::Installation;
use aeroedge_aviation_store::tables::Audience as TableAudience;
use aeroedge_ids::{CompartmentId, ContextId, Millis};
use aeroedge_log::compartment::Audience;
use aeroedge_log::control::Role;
use tempfile::TempDir;

use crate::support::{NOW, admit, exchange, installation};

pub(crate) const LATER: Millis = Millis(NOW.0 + 60_000);
pub(crate) const LAST: Millis = Millis(NOW.0 + 120_000);

/// `both` founded a club and a school; `flyer` is only in the club, and `teacher`, who reads everything, only in the school.
pub(crate) struct World {
    pub(crate) both: (TempDir, Installation),
    pub(crate) flyer: (TempDir, Installation),
    pub(crate) teacher: (TempDir, Installation),
    pub(crate) club: ContextId,
    pub(crate) school: ContextId,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut both = installation();
        let mut found = |name: &str, kind| {
            let new = NewContext {
                name: name.to_owned(),
                kind,
                home_airport: None,
                own_name: None,
            };
            contexts::create(&mut both.1.device, &new, NOW).unwrap()
        };
        let club = found("Hangar 4", ContextKind::Club);
        let school = found("Bay School", ContextKind::School);
        let mut flyer = installation();
        let mut teacher = installation();
        admit(&mut both.1, &mut flyer.1, club, Role::Member);
        admit(&mut both.1, &mut teacher.1, school, Role::Admin);
        Self {
            both,
            flyer,
            teacher,
            club,
            school,
        }
    }

    /// Brings everybody up to date, as often as something moves; a device that merged carries edits across.
    pub(crate) fn exchange(&mut self, now: Millis) {
        for _ in 0..3 {
            for one in [true, false] {
                self.meet(one, now);
                flights::carry_across(&mut self.both.1.device, now).unwrap();
                self.both.1.device.make_durable().unwrap();
            }
        }
    }

    /// Brings `both` and one of the others up to date, and carries nothing.
    pub(crate) fn meet(&mut self, flyer: bool, now: Millis) {
        let (other, context) = if flyer {
            (&mut self.flyer.1, self.club)
        } else {
            (&mut self.teacher.1, self.school)
        };
        exchange(&mut self.both.1, other, context, now);
    }

    /// How many entries `both` holds of the two groups.
    pub(crate) fn entries(&self) -> u64 {
        let status = self.both.1.device.status().unwrap();
        status
            .iter()
            .flat_map(|compartment| &compartment.logs)
            .map(|log| log.stored.0)
            .sum()
    }

    /// Where a row about the person of `both` lives in the school.
    pub(crate) fn in_school(&self, audience: TableAudience) -> CompartmentId {
        let audience = match audience {
            TableAudience::Everyone => Audience::Everyone,
            TableAudience::Staff => Audience::Staff,
            TableAudience::PersonAndStaff | TableAudience::OfItsOwner => {
                Audience::Person(self.both.1.device.user())
            }
        };
        audience.compartment(self.school)
    }

    pub(crate) fn in_club(&self) -> CompartmentId {
        Audience::Everyone.compartment(self.club)
    }
}
