//! Who may write what, as the platform asks it: the product's table of rights, in the words of the signed history.

use aeroedge_aviation::rights::{self, CompartmentKind, Permission, Writer};
use aeroedge_device::{Place, TableRights};
use aeroedge_ids::UserId;
use aeroedge_log::compartment::{Audience, Division};
use aeroedge_log::control::{Rights, Role};

/// The product's table of rights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AviationRights;

impl TableRights for AviationRights {
    fn may_write(&self, table: &str, place: Place, user: UserId, given: &Rights) -> bool {
        // A permission that this program does not know grants nothing here.
        let permissions: Vec<Permission> = given
            .permissions
            .iter()
            .filter_map(|permission| Permission::from_word(permission.as_str()))
            .collect();
        let writer = Writer {
            role: role(given.role),
            permissions: &permissions,
            is_subject: place.audience == Audience::Person(user),
        };
        rights::may_write(writer, table, compartment(place))
    }
}

const fn role(role: Role) -> rights::Role {
    match role {
        Role::Owner => rights::Role::Owner,
        Role::Admin => rights::Role::Admin,
        Role::Manager => rights::Role::Manager,
        Role::Member => rights::Role::Member,
        Role::ReadOnly => rights::Role::Readonly,
    }
}

const fn compartment(place: Place) -> CompartmentKind {
    match (place.division, place.audience) {
        (Division::Single, _) => CompartmentKind::Whole,
        (Division::Divided, Audience::Everyone) => CompartmentKind::Everyone,
        (Division::Divided, Audience::Staff) => CompartmentKind::Staff,
        (Division::Divided, Audience::Person(_)) => CompartmentKind::Person,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVERY: UserId = UserId([1; 16]);
    const ROBIN: UserId = UserId([2; 16]);

    fn check(table: &str, place: (Division, Audience), rights: &Rights, expected: bool) {
        let place = Place {
            division: place.0,
            audience: place.1,
        };
        let answer = AviationRights.may_write(table, place, AVERY, rights);
        assert_eq!(answer, expected, "{table} {place:?} {rights:?}");
    }

    #[test]
    fn in_a_school_a_student_writes_where_the_row_is_about_them() {
        let student = Rights::of(Role::Member);
        check(
            "flight",
            (Division::Divided, Audience::Person(AVERY)),
            &student,
            true,
        );
        check(
            "flight",
            (Division::Divided, Audience::Person(ROBIN)),
            &student,
            false,
        );
        check(
            "flight",
            (Division::Divided, Audience::Everyone),
            &student,
            false,
        );
        check(
            "charge",
            (Division::Divided, Audience::Person(AVERY)),
            &student,
            false,
        );
    }

    #[test]
    fn in_a_club_members_log_and_lookers_on_do_not() {
        let whole = (Division::Single, Audience::Everyone);
        check("flight", whole, &Rights::of(Role::Member), true);
        check("flight", whole, &Rights::of(Role::ReadOnly), false);
        check("context_profile", whole, &Rights::of(Role::Member), false);
        check("context_profile", whole, &Rights::of(Role::Owner), true);
    }

    #[test]
    fn a_permission_grants_what_its_role_alone_does_not() {
        let place = (Division::Divided, Audience::Person(ROBIN));
        let mut rights = Rights::of(Role::Member);
        check("lesson_result", place, &rights, false);
        rights
            .permissions
            .insert(aeroedge_log::control::Permission::new("instructor").unwrap());
        check("lesson_result", place, &rights, true);
    }
}
