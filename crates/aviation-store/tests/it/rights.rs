//! The table of rights and the schema speak of the same tables.

use std::collections::BTreeSet;

use aeroedge_aviation::rights::{CompartmentKind, Grantee, Role, rights};
use aeroedge_aviation_store::tables::{Audience, MERGED, merged};

#[test]
fn every_right_is_for_a_table_that_lives_there() {
    for (grantee, table, compartment) in rights() {
        let Some(merged) = merged(table) else {
            panic!("{grantee:?} is given {table}, which does not merge");
        };
        let lives_there = match (compartment, merged.audience) {
            (CompartmentKind::Whole, _) | (_, Audience::OfItsOwner) => true,
            (CompartmentKind::Everyone, audience) => audience == Audience::Everyone,
            (CompartmentKind::Staff, audience) => audience == Audience::Staff,
            (CompartmentKind::Person, audience) => audience == Audience::PersonAndStaff,
        };
        assert!(lives_there, "{table} does not live in {compartment:?}");
    }
}

#[test]
fn every_merged_table_has_an_owner_who_may_write_it() {
    for kind in [None, Some(CompartmentKind::Whole)] {
        let writable: BTreeSet<&str> = rights()
            .filter(|(grantee, _, compartment)| {
                *grantee == Grantee::Role(Role::Owner)
                    && match kind {
                        Some(kind) => *compartment == kind,
                        None => *compartment != CompartmentKind::Whole,
                    }
            })
            .map(|(_, table, _)| table)
            .collect();
        let all: BTreeSet<&str> = MERGED.iter().map(|table| table.name).collect();
        assert_eq!(writable, all, "{kind:?}");
    }
}
