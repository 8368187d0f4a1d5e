//! The clock of this device and those of the others: whose is off, and putting right what a wrong one has written.

use aeroedge_device::{ClockFinding, ClockRepairError, Device, DeviceError};
use aeroedge_ids::{ContextId, Millis};

use crate::contexts;
use crate::doctor::Finding;
use crate::explain::{Explained, Kind, with_causes};

/// The clock could not be examined or what it wrote not be put right.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// It could not be told.
    #[error("cannot tell whose clock is off")]
    Examine(#[from] DeviceError),
    /// It is wrong still, or the repair stopped.
    #[error("cannot put right what a wrong clock has written: {}", with_causes(.0))]
    Repair(ClockRepairError),
}

impl Explained for ClockError {
    fn kind(&self) -> Kind {
        match self {
            Self::Repair(ClockRepairError::Off(_)) => Kind::Refused,
            Self::Examine(_) | Self::Repair(_) => Kind::Failure,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Repair(ClockRepairError::Off(_)) => String::new(),
            Self::Repair(_) => {
                "run `aeroedge doctor --repair-clock` again; it goes on where it stopped".to_owned()
            }
            Self::Examine(_) => "see `aeroedge doctor`".to_owned(),
        }
    }
}

/// What is wrong with clocks, as far as this device can see, with the names of those concerned.
pub fn examine(device: &Device, now: Millis) -> Result<Vec<Finding>, ClockError> {
    let contexts: Vec<ContextId> = device.contexts().iter().map(|context| context.id).collect();
    let names = contexts::names(device, &contexts).unwrap_or_default();
    let mut findings = Vec::new();
    for finding in device.clock_findings(now)? {
        let message = finding.to_string();
        findings.push(match finding {
            ClockFinding::Own(_) => Finding::bad(
                "clock",
                message,
                "once date and time are right, run `aeroedge doctor --repair-clock`",
            ),
            ClockFinding::Unfinished { .. } => {
                Finding::bad("clock", message, "run `aeroedge doctor --repair-clock`")
            }
            ClockFinding::Other { user, .. } => {
                let who = user.and_then(|user| names.get(&user).cloned());
                let who = who.unwrap_or_else(|| "somebody".to_owned());
                Finding::note(
                    "clock",
                    format!("a device of {who}: {message}"),
                    format!("ask {who} to set date and time; nothing is lost meanwhile"),
                )
            }
            ClockFinding::Outvoted { .. } => {
                Finding::note("clock", message, "compare it with another clock")
            }
        });
    }
    Ok(findings)
}

/// Voids what this device wrote by a clock that was ahead, and writes it again at the present.
pub fn repair(device: &mut Device, now: Millis) -> Result<Finding, ClockError> {
    let repaired = device
        .repair_clock(now, &mut rand::rng())
        .map_err(ClockError::Repair)?;
    if !repaired.refused.is_empty() {
        return Ok(Finding::bad(
            "clock repair",
            format!(
                "{} changes could not be written again: {}",
                repaired.refused.len(),
                repaired.refused[0]
            ),
            "they are kept; ask an administrator of the group for the right, then repair again",
        ));
    }
    if repaired.written == 0 {
        return Ok(Finding::good(
            "clock repair",
            "there was nothing to put right",
        ));
    }
    let gone = match repaired.gone.len() {
        0 => String::new(),
        number => format!("; {number} rows stay deleted, which others have deleted meanwhile"),
    };
    Ok(Finding::good(
        "clock repair",
        format!(
            "{} changes made by a wrong clock are written again at the present{gone}",
            repaired.written
        ),
    ))
}
