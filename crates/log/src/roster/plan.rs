//! What a round of settling contested acts has found so far, for the next reading to heed.
//!
//! A reading without a plan is of a history in which everything contested has been settled, and heeds what it reads.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_ids::ControlHash;

use super::Rejection;
use crate::control::Rights;

/// What is known of acts before they are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) bars: BTreeMap<ControlHash, Bar>,
    /// Joins that give way, and why.
    pub(crate) displaced: BTreeMap<ControlHash, Rejection>,
    /// Joins that stand although their invite does not let them, and the act that took them in.
    pub(crate) confirmed: BTreeMap<ControlHash, ControlHash>,
    /// Acts that turned out not to take anybody in.
    pub(crate) unconfirming: BTreeSet<ControlHash>,
}

/// What keeps an act from its full effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bar {
    /// Its author has only these rights for it, or none.
    Limited(Option<Rights>),
    /// It is a join by an invite that was withdrawn.
    Withdrawn,
    /// It contradicts an act that goes before it.
    Outranked,
}

impl Bar {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Outranked, _) | (_, Self::Outranked) => Self::Outranked,
            (Self::Withdrawn, _) | (_, Self::Withdrawn) => Self::Withdrawn,
            (Self::Limited(Some(one)), Self::Limited(Some(other))) => {
                Self::Limited(Some(one.limited_to(&other)))
            }
            (Self::Limited(_), Self::Limited(_)) => Self::Limited(None),
        }
    }
}

/// The reading must start over, knowing this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// A join that stood gives way to another.
    Displaced(ControlHash, Rejection),
    /// A join that did not stand does, because of this later act.
    Confirmed(ControlHash, ControlHash),
}
