//! What is announced to the network, as it was when it was last asked for.
//!
//! Drivers ask at any moment and from any thread, so the keys behind the tags are a copy: asking never waits for the
//! database.

use std::sync::Arc;

use aeroedge_transport::{Beacon, Nonce, Tag};

/// Computes the tags under which a device is recognised by those that share something with it.
pub trait Tags: Send + Sync {
    /// The tags under a nonce, one for each thing shared.
    fn tags(&self, nonce: &Nonce) -> Vec<Tag>;
}

pub(crate) struct Snapshot(pub(crate) Arc<dyn Tags>);

impl Beacon for Snapshot {
    fn tags(&self, nonce: &Nonce) -> Vec<Tag> {
        self.0.tags(nonce)
    }
}

/// Nothing to announce, before the database was asked.
pub(crate) struct Silent;

impl Tags for Silent {
    fn tags(&self, _: &Nonce) -> Vec<Tag> {
        Vec::new()
    }
}
