//! Who may write which table in which compartment: the table of rights, as data.
//!
//! Every receiver enforces it and it is baked into history, so it is coarse and stable: never a matter of a changeable
//! column. Whose booking, which currency, what balance and how many hours are checks with a visible list of violations,
//! not rejections. Reading needs no right: who has the key of a compartment reads it.

/// What a member is in a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Owns the context; admins cannot remove owners.
    Owner,
    /// Administers members and keys.
    Admin,
    /// Runs the operation.
    Manager,
    /// Flies.
    Member,
    /// Looks.
    Readonly,
}

/// What a member may do besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Teaches.
    Instructor,
    /// Maintains.
    Mechanic,
    /// Hands aircraft out and takes them back.
    Dispatcher,
    /// Keeps the money.
    Billing,
    /// Keeps the schedule.
    Scheduler,
}

/// A compartment by its audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompartmentKind {
    /// The only one of a context that is not divided, as in a personal logbook or a partnership.
    Whole,
    /// What every member of a divided context reads.
    Everyone,
    /// What staff reads.
    Staff,
    /// What one person and the staff concerned read.
    Person,
}

macro_rules! words {
    ($type:ident { $($variant:ident $word:literal)* }) => {
        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word under which it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// Reads the word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words!(Role { Owner "owner" Admin "admin" Manager "manager" Member "member" Readonly "readonly" });
words!(Permission {
    Instructor "instructor" Mechanic "mechanic" Dispatcher "dispatcher" Billing "billing" Scheduler "scheduler"
});
words!(CompartmentKind { Whole "whole" Everyone "everyone" Staff "staff" Person "person" });

/// To whom a right is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    /// Whoever has the role.
    Role(Role),
    /// Whoever has the permission, in any role but readonly.
    Permission(Permission),
    /// The person a compartment is about, in any role but readonly.
    Subject,
}

/// One line of the table: these may write these tables there.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// Where.
    pub compartment: CompartmentKind,
    /// Who.
    pub grantees: &'static [Grantee],
    /// What.
    pub tables: &'static [&'static [&'static str]],
}

const PROFILE: &[&str] = &["context_profile", "member_permission"];
const MEMBERS: &[&str] = &["context_member", "member_phone", "preference"];
const PILOT_FACTS: &[&str] = &[
    "person",
    "person_rating",
    "currency_statement",
    "medical",
    "review",
];
const CHECKOUTS: &[&str] = &["checkout"];
const LOGBOOK: &[&str] = &[
    "flight",
    "approach",
    "flight_person",
    "flight_link",
    "track",
];
const DRAFTS: &[&str] = &["draft", "draft_field"];
const ENDORSEMENTS: &[&str] = &["endorsement"];
const AIRCRAFT: &[&str] = &["aircraft", "meter_series"];
const MAINTENANCE: &[&str] = &["component", "inspection_program", "inspection"];
const SQUAWKS: &[&str] = &["squawk", "meter_reading"];
const BOOKINGS: &[&str] = &["booking", "booking_flight"];
const TEMPLATES: &[&str] = &[
    "booking_template",
    "booking_template_weekday",
    "booking_template_exception",
];
const AVAILABILITY: &[&str] = &["availability"];
const OPENING_HOURS: &[&str] = &["opening_hours"];
const BOOKING_DETAILS: &[&str] = &["booking_detail"];
const GATE_OVERRIDES: &[&str] = &["booking_gate_override"];
const SYLLABI: &[&str] = &["syllabus", "stage", "lesson", "lesson_objective"];
const TRAINING: &[&str] = &[
    "enrolment",
    "lesson_result",
    "lesson_objective_result",
    "stage_check",
];
const RATES: &[&str] = &["rate"];
const CHARGES: &[&str] = &["charge", "charge_line"];
const ACCOUNTS: &[&str] = &[
    "invoice",
    "invoice_line",
    "payment",
    "reversal",
    "dues",
    "share",
];
const BOOKS: &[&str] = &["rate_draft", "deposit", "deposit_payment", "month_close"];
const REMARKS: &[&str] = &["person_remark"];
const NOTICES: &[&str] = &["notice"];
const CUSTOM_FIELDS: &[&str] = &["custom_field"];
const ATTACHMENTS: &[&str] = &["attachment"];

const LEADERS: &[Grantee] = &[
    Grantee::Role(Role::Owner),
    Grantee::Role(Role::Admin),
    Grantee::Role(Role::Manager),
];
const MEMBER: &[Grantee] = &[Grantee::Role(Role::Member)];
const SUBJECT: &[Grantee] = &[Grantee::Subject];
const INSTRUCTOR: &[Grantee] = &[Grantee::Permission(Permission::Instructor)];
const MECHANIC: &[Grantee] = &[Grantee::Permission(Permission::Mechanic)];
const DISPATCHER: &[Grantee] = &[Grantee::Permission(Permission::Dispatcher)];
const BILLING: &[Grantee] = &[Grantee::Permission(Permission::Billing)];
const SCHEDULER: &[Grantee] = &[Grantee::Permission(Permission::Scheduler)];

/// The table of rights. What it does not grant is refused.
pub const RIGHTS: &[Grant] = {
    use CompartmentKind::{Everyone, Person, Staff, Whole};
    const fn grant(
        compartment: CompartmentKind,
        grantees: &'static [Grantee],
        tables: &'static [&'static [&'static str]],
    ) -> Grant {
        Grant {
            compartment,
            grantees,
            tables,
        }
    }
    &[
        // Partners and a pilot alone trust each other with everything but what the context itself is.
        grant(
            Whole,
            LEADERS,
            &[
                PROFILE,
                MEMBERS,
                PILOT_FACTS,
                CHECKOUTS,
                LOGBOOK,
                CUSTOM_FIELDS,
                DRAFTS,
                ENDORSEMENTS,
                AIRCRAFT,
                MAINTENANCE,
                SQUAWKS,
                BOOKINGS,
                TEMPLATES,
                AVAILABILITY,
                OPENING_HOURS,
                BOOKING_DETAILS,
                GATE_OVERRIDES,
                SYLLABI,
                TRAINING,
                RATES,
                CHARGES,
                ACCOUNTS,
                BOOKS,
                REMARKS,
                NOTICES,
                ATTACHMENTS,
            ],
        ),
        grant(
            Whole,
            MEMBER,
            &[
                MEMBERS,
                PILOT_FACTS,
                CHECKOUTS,
                LOGBOOK,
                CUSTOM_FIELDS,
                DRAFTS,
                ENDORSEMENTS,
                AIRCRAFT,
                MAINTENANCE,
                SQUAWKS,
                BOOKINGS,
                TEMPLATES,
                AVAILABILITY,
                BOOKING_DETAILS,
                GATE_OVERRIDES,
                SYLLABI,
                TRAINING,
                CHARGES,
                ACCOUNTS,
                NOTICES,
                ATTACHMENTS,
            ],
        ),
        grant(Whole, BILLING, &[RATES, BOOKS]),
        grant(Whole, SCHEDULER, &[OPENING_HOURS]),
        // What everyone reads.
        grant(
            Everyone,
            LEADERS,
            &[
                PROFILE,
                MEMBERS,
                AIRCRAFT,
                CUSTOM_FIELDS,
                MAINTENANCE,
                SQUAWKS,
                BOOKINGS,
                TEMPLATES,
                AVAILABILITY,
                OPENING_HOURS,
                SYLLABI,
                RATES,
                ATTACHMENTS,
            ],
        ),
        grant(
            Everyone,
            MEMBER,
            &[MEMBERS, SQUAWKS, BOOKINGS, AVAILABILITY, ATTACHMENTS],
        ),
        grant(Everyone, INSTRUCTOR, &[TEMPLATES, SYLLABI]),
        grant(Everyone, MECHANIC, &[AIRCRAFT, CUSTOM_FIELDS, MAINTENANCE]),
        grant(Everyone, DISPATCHER, &[TEMPLATES, OPENING_HOURS]),
        grant(Everyone, SCHEDULER, &[TEMPLATES, OPENING_HOURS]),
        grant(Everyone, BILLING, &[RATES]),
        // What staff reads.
        grant(Staff, LEADERS, &[BOOKS, REMARKS, ATTACHMENTS]),
        grant(Staff, INSTRUCTOR, &[REMARKS]),
        grant(Staff, DISPATCHER, &[REMARKS]),
        grant(Staff, BILLING, &[BOOKS, ATTACHMENTS]),
        // What one person and the staff concerned read.
        grant(
            Person,
            LEADERS,
            &[
                PILOT_FACTS,
                CHECKOUTS,
                LOGBOOK,
                CUSTOM_FIELDS,
                DRAFTS,
                ENDORSEMENTS,
                BOOKING_DETAILS,
                GATE_OVERRIDES,
                TRAINING,
                CHARGES,
                ACCOUNTS,
                NOTICES,
                ATTACHMENTS,
            ],
        ),
        grant(
            Person,
            SUBJECT,
            &[
                PILOT_FACTS,
                LOGBOOK,
                CUSTOM_FIELDS,
                DRAFTS,
                BOOKING_DETAILS,
                NOTICES,
                ATTACHMENTS,
            ],
        ),
        grant(
            Person,
            INSTRUCTOR,
            &[
                PILOT_FACTS,
                CHECKOUTS,
                LOGBOOK,
                CUSTOM_FIELDS,
                ENDORSEMENTS,
                BOOKING_DETAILS,
                GATE_OVERRIDES,
                TRAINING,
                CHARGES,
                NOTICES,
                ATTACHMENTS,
            ],
        ),
        grant(
            Person,
            DISPATCHER,
            &[
                PILOT_FACTS,
                CHECKOUTS,
                LOGBOOK,
                CUSTOM_FIELDS,
                BOOKING_DETAILS,
                GATE_OVERRIDES,
                CHARGES,
                NOTICES,
                ATTACHMENTS,
            ],
        ),
        grant(Person, SCHEDULER, &[BOOKING_DETAILS, NOTICES]),
        grant(
            Person,
            BILLING,
            &[BOOKING_DETAILS, CHARGES, ACCOUNTS, NOTICES, ATTACHMENTS],
        ),
    ]
};

/// Every right, one for each grantee, table and compartment.
pub fn rights() -> impl Iterator<Item = (Grantee, &'static str, CompartmentKind)> {
    RIGHTS.iter().flat_map(|grant| {
        grant.grantees.iter().flat_map(move |grantee| {
            grant
                .tables
                .iter()
                .flat_map(|tables| tables.iter())
                .map(move |table| (*grantee, *table, grant.compartment))
        })
    })
}

/// Who wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer<'a> {
    /// Role in the context.
    pub role: Role,
    /// Permissions besides.
    pub permissions: &'a [Permission],
    /// Whether the compartment is about this very person.
    pub is_subject: bool,
}

/// Whether somebody may write a table in a compartment.
pub fn may_write(writer: Writer<'_>, table: &str, compartment: CompartmentKind) -> bool {
    if writer.role == Role::Readonly {
        return false;
    }
    RIGHTS
        .iter()
        .filter(|grant| grant.compartment == compartment)
        .filter(|grant| grant.tables.iter().any(|tables| tables.contains(&table)))
        .flat_map(|grant| grant.grantees)
        .any(|grantee| match grantee {
            Grantee::Role(role) => *role == writer.role,
            Grantee::Permission(permission) => writer.permissions.contains(permission),
            Grantee::Subject => writer.is_subject,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use CompartmentKind::{Everyone, Person, Staff, Whole};

    fn check(
        (role, permissions, is_subject): (Role, &[Permission], bool),
        table: &str,
        compartment: CompartmentKind,
        expected: bool,
    ) {
        let writer = Writer {
            role,
            permissions,
            is_subject,
        };
        assert_eq!(
            may_write(writer, table, compartment),
            expected,
            "{writer:?} {table} {compartment:?}"
        );
    }

    #[test]
    fn a_student_keeps_the_own_logbook_and_no_grades() {
        let student = (Role::Member, &[][..], true);
        check(student, "flight", Person, true);
        check(student, "medical", Person, true);
        check(student, "endorsement", Person, false);
        check(student, "lesson_result", Person, false);
        check(student, "payment", Person, false);
        check(student, "booking", Everyone, true);
        check(student, "aircraft", Everyone, false);
        check(student, "rate", Everyone, false);
        check((Role::Member, &[], false), "flight", Person, false);
    }

    #[test]
    fn permissions_reach_as_far_as_the_work() {
        let instructor = (Role::Member, &[Permission::Instructor][..], false);
        check(instructor, "endorsement", Person, true);
        check(instructor, "flight", Person, true);
        check(instructor, "invoice", Person, false);
        let mechanic = (Role::Member, &[Permission::Mechanic][..], false);
        check(mechanic, "inspection", Everyone, true);
        check(mechanic, "medical", Person, false);
        let billing = (Role::Member, &[Permission::Billing][..], false);
        check(billing, "payment", Person, true);
        check(billing, "month_close", Staff, true);
        check(billing, "endorsement", Person, false);
    }

    #[test]
    fn readonly_writes_nothing_whatever_the_permissions() {
        for table in ["flight", "booking", "payment", "notice"] {
            for compartment in CompartmentKind::ALL {
                let writer = (Role::Readonly, Permission::ALL, true);
                check(writer, table, *compartment, false);
            }
        }
    }

    #[test]
    fn a_partner_writes_everything_but_the_profile() {
        let partner = (Role::Member, &[][..], false);
        check(partner, "flight", Whole, true);
        check(partner, "aircraft", Whole, true);
        check(partner, "context_profile", Whole, false);
        check(partner, "month_close", Whole, false);
        check((Role::Owner, &[], false), "context_profile", Whole, true);
    }

    #[test]
    fn an_unknown_table_is_refused() {
        check(
            (Role::Owner, Permission::ALL, true),
            "sqlite_master",
            Whole,
            false,
        );
    }

    #[test]
    fn words_read_back() {
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.as_str()), Some(*role));
        }
        for permission in Permission::ALL {
            assert_eq!(
                Permission::from_word(permission.as_str()),
                Some(*permission)
            );
        }
        assert_eq!(Role::from_word("emperor"), None);
        assert_eq!(CompartmentKind::from_word("staff"), Some(Staff));
    }

    #[test]
    fn no_right_is_given_twice() {
        let mut all: Vec<_> = rights().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
