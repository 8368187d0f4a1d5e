//! Letting a second device of the same person in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A way in for a second device, good once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PairingOffer {
    /// What the new device scans or is given as text. Whoever has it may try.
    pub link: String,
    /// Until when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for PairingOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairingOffer")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// How far a pairing has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pairing {
    /// How far.
    pub state: PairingState,
    /// The six digits that both screens show, while they are to be compared.
    pub digits: Option<String>,
    /// What went wrong and what to do, if it failed.
    pub detail: Option<String>,
}

/// How far a pairing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairingState {
    /// There is none.
    None,
    /// The other device has not been met.
    Searching,
    /// Both have met: do both screens show the same digits?
    Compare,
    /// The person said yes; everything is on its way.
    Giving,
    /// The new device has everything.
    Done,
    /// It cannot be.
    Failed,
}

/// The person has compared the digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PairingConsent {
    /// The six digits that the new device shows.
    #[schema(example = "012 345")]
    pub digits: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_not_printed() {
        let offer = PairingOffer {
            link: "aeroedge://pair?k=half".into(),
            expires_at: None,
        };
        assert!(!format!("{offer:?}").contains("half"));
    }
}
