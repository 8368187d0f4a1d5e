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

    /// Whether tags under a nonce are of somebody who shares something with this device, be it by an older key.
    fn recognises(&self, nonce: &Nonce, tags: &[Tag]) -> bool;
}

pub(crate) struct Snapshot(pub(crate) Arc<dyn Tags>);

impl Beacon for Snapshot {
    fn tags(&self, nonce: &Nonce) -> Vec<Tag> {
        self.0.tags(nonce)
    }

    fn recognises(&self, nonce: &Nonce, tags: &[Tag]) -> bool {
        self.0.recognises(nonce, tags)
    }
}

/// Nothing to announce, before the database was asked.
pub(crate) struct Silent;

impl Tags for Silent {
    fn tags(&self, _: &Nonce) -> Vec<Tag> {
        Vec::new()
    }

    fn recognises(&self, _: &Nonce, _: &[Tag]) -> bool {
        false
    }
}
