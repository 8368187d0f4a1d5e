//! Joining: in memory until the secret has proved right, so that giving up leaves nothing behind.

use aeroedge_ids::{ContextId, Millis};
use aeroedge_log::context::{self, JoinError};
use aeroedge_log::control::ControlEntry;
use aeroedge_log::history::History;
use aeroedge_log::invite::{InviteLink, PackageError, Secret, Stretch};
use rand::CryptoRng;

use super::{ControlReceived, MembershipError, ReceiveControlError};
use crate::clocks::ClockError;
use crate::device::Device;

/// How far a join has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinState {
    /// No device that knows the invite has been met.
    Searching,
    /// The secret is not the one of this invite.
    WrongSecret,
    /// It cannot be: why.
    Refused(String),
    /// This device is a member.
    Joined,
    /// Nobody started to join this context.
    NotStarted,
}

/// A join under way: in memory only, so that giving up leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) link: InviteLink,
    secret: Secret,
    stretch: Stretch,
    pub(crate) history: History,
    state: JoinState,
}

impl Device {
    /// Begins to join: from now on [`Device::credentials`] lets sessions find a device that knows the invite.
    pub fn start_join(
        &mut self,
        link: InviteLink,
        secret: Secret,
        stretch: Stretch,
    ) -> Result<(), MembershipError> {
        self.refresh()?;
        if self.contexts.contains_key(&link.context) {
            return Err(MembershipError::AlreadyMember);
        }
        let context = link.context;
        let joining = Joining {
            link,
            secret,
            stretch,
            history: History::new(context),
            state: JoinState::Searching,
        };
        self.joining.insert(context, joining);
        Ok(())
    }

    /// How far a join has come.
    pub fn join_state(&self, context: ContextId) -> JoinState {
        match self.joining.get(&context) {
            Some(joining) => joining.state.clone(),
            None if self.contexts.contains_key(&context) => JoinState::Joined,
            None => JoinState::NotStarted,
        }
    }

    /// Gives up joining. Nothing was stored.
    pub fn cancel_join(&mut self, context: ContextId) {
        self.joining.remove(&context);
    }

    pub(super) fn receive_for_join(
        &mut self,
        context: ContextId,
        entries: Vec<ControlEntry>,
        now: Millis,
        rng: &mut impl CryptoRng,
    ) -> Result<ControlReceived, ReceiveControlError> {
        let hlc = self.next_control_stamp(now);
        let clock = match self.check_clock(now) {
            Ok(()) => None,
            Err(ClockError::Off(off)) => Some(off),
            Err(ClockError::Device(error)) => return Err(error.into()),
        };
        let Some(joining) = self.joining.get_mut(&context) else {
            return Ok(ControlReceived::default());
        };
        for entry in entries {
            joining
                .history
                .insert(entry)
                .map_err(|error| ReceiveControlError::Refused(error.to_string()))?;
        }
        if joining.state == JoinState::WrongSecret {
            return Ok(ControlReceived::default());
        }
        if let Some(off) = clock {
            joining.state = JoinState::Refused(off.to_string());
            return Ok(ControlReceived {
                changed: true,
                joined: false,
            });
        }
        let attempt = context::join(
            &joining.history,
            &self.secrets,
            &joining.link.seed,
            &joining.secret,
            joining.stretch,
            self.user,
            hlc,
            rng,
        );
        match attempt {
            Ok(entered) => {
                let known = self.joining.remove(&context).map(|joining| joining.history);
                let known = known
                    .iter()
                    .flat_map(|history| history.entries().cloned())
                    .collect();
                self.enter(entered, known)
                    .map_err(|error| ReceiveControlError::Storage(Box::new(error)))?;
                return Ok(ControlReceived {
                    changed: true,
                    joined: true,
                });
            }
            Err(JoinError::NoHistory | JoinError::UnknownInvite) => {}
            Err(JoinError::Package(PackageError::WrongSecret)) => {
                joining.state = JoinState::WrongSecret;
            }
            Err(error) => joining.state = JoinState::Refused(error.to_string()),
        }
        Ok(ControlReceived {
            changed: true,
            joined: false,
        })
    }
}
