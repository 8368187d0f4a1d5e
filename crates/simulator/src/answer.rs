//! Between a session and a device: the answer to every question a session asks.
//!
//! Pure glue. It keeps nothing, and it decides nothing that the device does not decide.

use std::collections::BTreeMap;

use aeroedge_device::{Declined, Device, PeerAcceptError, PeerRefused, ReceiveControlError};
use aeroedge_ids::{CompartmentId, ContextId, DeviceKey, Millis, WriterKey};
use aeroedge_protocol::{EndReason, Event, Frontier, Output, Signature};
use rand::CryptoRng;

/// What became of a question.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) event: Event,
    /// The event promises that something is stored: tell it after the next fsync.
    pub(crate) after_durable: bool,
    /// Control entries arrived: entries that waited for them may be merged.
    pub(crate) control: bool,
    /// This device has become a member.
    pub(crate) joined: bool,
    /// Logs of which no more is taken on this link.
    pub(crate) declined: Vec<(WriterKey, Declined)>,
}

impl From<Event> for Answer {
    fn from(event: Event) -> Self {
        Self {
            event,
            after_durable: false,
            control: false,
            joined: false,
            declined: Vec::new(),
        }
    }
}

/// Answers a question other than a proof. `None` for outputs that ask nothing.
pub(crate) fn answer(
    device: &mut Device,
    question: Output,
    now: Millis,
    rng: &mut impl CryptoRng,
) -> Result<Option<Answer>, String> {
    let answer = match question {
        Output::Sign { context, message } => Event::Signed {
            context,
            device: device.key(),
            signature: device.sign(&message),
        }
        .into(),
        Output::ReadHistory { context } => Event::History {
            context,
            hashes: device.control_hashes(context).into(),
        }
        .into(),
        Output::ReadControl {
            context,
            hashes,
            bytes_max,
        } => Event::ControlRead {
            context,
            entries: device.control_entries(context, &hashes, bytes_max),
        }
        .into(),
        Output::ApplyControl {
            context, entries, ..
        } => apply_control(device, context, &entries, now, rng)?,
        Output::ReadEntries {
            context,
            compartment,
            after,
            peer,
            bytes_max,
        } => {
            let read = device
                .read_entries(compartment, &peer, after, bytes_max)
                .map_err(|error| describe(&error))?;
            Event::EntriesRead {
                context,
                compartment,
                runs: read.runs,
                next: read.next,
                exhausted: read.exhausted,
            }
            .into()
        }
        Output::Apply {
            batch,
            context,
            compartment,
            runs,
        } => {
            let received = device
                .receive_entries(&[(context, compartment, runs)], now)
                .map_err(|error| describe(&error))?;
            let declined: Vec<_> = received
                .declined
                .iter()
                .map(|(writer, _)| *writer)
                .collect();
            Answer {
                after_durable: true,
                declined: received.declined,
                ..Event::Applied { batch, declined }.into()
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn apply_control(
    device: &mut Device,
    context: ContextId,
    entries: &[Vec<u8>],
    now: Millis,
    rng: &mut impl CryptoRng,
) -> Result<Answer, String> {
    match device.receive_control(context, entries, now, rng) {
        Ok(received) => Ok(Answer {
            after_durable: true,
            control: true,
            joined: received.joined,
            ..Event::ControlApplied {
                context,
                hashes: device.control_hashes(context).into(),
            }
            .into()
        }),
        Err(ReceiveControlError::Storage(error)) => Err(describe(&*error)),
        Err(ReceiveControlError::UnknownContext(_)) => Ok(Event::EndContext {
            context,
            reason: EndReason::Done,
        }
        .into()),
        Err(ReceiveControlError::Malformed(_) | ReceiveControlError::Refused(_)) => {
            Ok(Event::EndContext {
                context,
                reason: EndReason::ControlRefused,
            }
            .into())
        }
    }
}

/// Whether a peer is who it says and belongs to a context.
pub(crate) fn judge(
    device: &Device,
    context: ContextId,
    peer: DeviceKey,
    message: &[u8],
    signature: &Signature,
) -> Result<Result<BTreeMap<CompartmentId, Frontier>, EndReason>, String> {
    match device.accept_peer(context, peer, message, signature) {
        Ok(compartments) => Ok(Ok(compartments)),
        Err(PeerAcceptError::Refused(refused)) => Ok(Err(match refused {
            PeerRefused::NotHere => EndReason::Done,
            PeerRefused::FalseProof => EndReason::BadProof,
            PeerRefused::NotAMember => EndReason::UnknownDevice,
        })),
        Err(PeerAcceptError::Device(error)) => Err(describe(&error)),
    }
}

/// An error with its causes in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
