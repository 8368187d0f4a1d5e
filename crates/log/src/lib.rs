//! Sealed, chained and signed entries, the keys that open them and the signed history of who may write them.
//!
//! Every byte layout here is defined in `docs/format.md` and pinned by the vectors in `docs/format-vectors.json`. This
//! crate has no clock, no source of randomness and no storage: time and randomness arrive as arguments, bytes leave as
//! return values. Changesets and everything an application means by roles and permissions are opaque to it.
//!
//! Reading order: [`entry`] (one sealed changeset), [`head`] (what vouches for a log), [`keys`] and [`secrets`],
//! [`compartment`], [`control`] (one signed act), [`history`] and [`roster`] (what all acts mean together),
//! [`keyring`], [`invite`], [`context`] (making the acts).

pub mod entry;
pub mod head;

pub mod keys;
pub mod secrets;
pub mod tags;

pub mod compartment;
pub mod control;
pub mod history;
pub mod roster;

pub mod context;
pub mod invite;
pub mod keyring;
pub mod pairing;

mod bytes;
mod seal;
