//! Brings the control histories of two ends together, then keeps them so.
//!
//! Histories are compared as sets: one digest of all; where it differs, a digest for each of 256 buckets; where those
//! differ, the hashes themselves. So three round trips settle any difference between histories of any length and shape,
//! and equal histories cost one digest. Entries travel parents first, one batch at a time.
//!
//! Invariant: an entry is sent only if the peer lacks it as far as this end knows, and never twice.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use aeroedge_ids::ControlHash;
use sha2::{Digest, Sha256};

use crate::frame::{BUCKETS, Buckets};
use crate::limits::HISTORY_MAX;
use crate::reason::CloseReason;

/// Most entries asked of the store at once.
const READ_MAX: usize = 4096;

/// What the session has to do for this part.
#[derive(Debug)]
pub(crate) enum Step {
    SendDigest([u8; 32]),
    SendBuckets(Box<Buckets>),
    SendHave(Vec<ControlHash>),
    SendEntries(Vec<Vec<u8>>),
    SendReceived,
    Read(Vec<ControlHash>),
    Apply(Vec<Vec<u8>>),
    InSync,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// The driver has not yet named the own history.
    Unknown,
    /// The own digest is out; it describes this much of the history.
    Digest { own: [u8; 32], length: usize },
    /// The own buckets are out, likewise.
    Buckets { own: Box<Buckets>, length: usize },
    /// The own hashes are out, those in the buckets that are marked.
    Have { differs: Box<[bool; BUCKETS]> },
    /// What the peer holds is known.
    Live,
}

#[derive(Debug)]
pub(crate) struct ControlSync {
    salt: [u8; 32],
    phase: Phase,
    history: Arc<[ControlHash]>,
    /// A digest that came before the driver named the own history.
    peer_digest: Option<[u8; 32]>,
    /// The peer holds, was sent, or is queued everything before this place in the history.
    offered: usize,
    /// What the peer holds beyond that.
    peer_beyond: BTreeSet<ControlHash>,
    /// What the peer said it holds and this end still lacks.
    awaited: BTreeSet<ControlHash>,
    /// To be sent, parents first.
    queue: VecDeque<ControlHash>,
    reading: usize,
    unacknowledged: bool,
    applying: bool,
    in_sync: bool,
}

impl ControlSync {
    pub(crate) fn new(salt: [u8; 32]) -> Self {
        Self {
            salt,
            phase: Phase::Unknown,
            history: Arc::new([]),
            peer_digest: None,
            offered: 0,
            peer_beyond: BTreeSet::new(),
            awaited: BTreeSet::new(),
            queue: VecDeque::new(),
            reading: 0,
            unacknowledged: false,
            applying: false,
            in_sync: false,
        }
    }

    /// Whether both ends hold the same history now.
    pub(crate) fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Whether the peer has taken in everything of the own history.
    pub(crate) fn is_delivered(&self) -> bool {
        self.phase == Phase::Live
            && self.queue.is_empty()
            && self.reading == 0
            && !self.unacknowledged
    }

    /// The driver named the own history, or it has grown.
    pub(crate) fn on_history(&mut self, history: Arc<[ControlHash]>, steps: &mut Vec<Step>) {
        if history.len() < self.history.len() {
            // An answer that was overtaken by a newer one.
            return;
        }
        if !self.awaited.is_empty() {
            for hash in &history[self.history.len()..] {
                self.awaited.remove(hash);
            }
        }
        self.history = history;
        match self.phase {
            Phase::Unknown => {
                let own = digest(&self.history);
                self.phase = Phase::Digest {
                    own,
                    length: self.history.len(),
                };
                steps.push(Step::SendDigest(own));
                if let Some(peer) = self.peer_digest.take() {
                    self.compare(peer, steps);
                }
            }
            Phase::Live => self.offer_growth(),
            _ => {}
        }
        self.advance(steps);
    }

    pub(crate) fn on_digest(
        &mut self,
        peer: [u8; 32],
        steps: &mut Vec<Step>,
    ) -> Result<(), CloseReason> {
        match self.phase {
            Phase::Unknown if self.peer_digest.is_none() => self.peer_digest = Some(peer),
            Phase::Digest { .. } => self.compare(peer, steps),
            _ => return Err(CloseReason::WrongOrder),
        }
        self.advance(steps);
        Ok(())
    }

    fn compare(&mut self, peer: [u8; 32], steps: &mut Vec<Step>) {
        let Phase::Digest { own, length } = self.phase else {
            return;
        };
        if own == peer {
            self.offered = length;
            self.go_live();
        } else {
            let buckets = buckets(&self.salt, &self.history);
            self.phase = Phase::Buckets {
                own: buckets.clone(),
                length: self.history.len(),
            };
            steps.push(Step::SendBuckets(buckets));
        }
    }

    pub(crate) fn on_buckets(
        &mut self,
        peer: &Buckets,
        steps: &mut Vec<Step>,
    ) -> Result<(), CloseReason> {
        let Phase::Buckets { own, length } = &self.phase else {
            return Err(CloseReason::WrongOrder);
        };
        let mut differs = Box::new([false; BUCKETS]);
        for (differs, (own, peer)) in differs.iter_mut().zip(own.iter().zip(peer)) {
            *differs = own != peer;
        }
        let mut have: Vec<ControlHash> = self.history[..*length]
            .iter()
            .filter(|hash| differs[bucket(hash)])
            .copied()
            .collect();
        if have.len() > HISTORY_MAX {
            return Err(CloseReason::Oversized);
        }
        have.sort_unstable();
        self.offered = *length;
        self.phase = Phase::Have { differs };
        steps.push(Step::SendHave(have));
        Ok(())
    }

    pub(crate) fn on_have(
        &mut self,
        hashes: Vec<ControlHash>,
        steps: &mut Vec<Step>,
    ) -> Result<(), CloseReason> {
        let Phase::Have { differs } = &self.phase else {
            return Err(CloseReason::WrongOrder);
        };
        if hashes.iter().any(|hash| !differs[bucket(hash)]) {
            return Err(CloseReason::Malformed);
        }
        self.peer_beyond = hashes.into_iter().collect();
        for hash in &self.history[..self.offered] {
            if differs[bucket(hash)] && !self.peer_beyond.remove(hash) {
                self.queue.push_back(*hash);
            }
        }
        self.awaited = self.peer_beyond.clone();
        for hash in &self.history[self.offered..] {
            self.awaited.remove(hash);
        }
        self.go_live();
        self.advance(steps);
        Ok(())
    }

    fn go_live(&mut self) {
        self.phase = Phase::Live;
        self.offer_growth();
    }

    /// Queues what the history gained and the peer lacks.
    fn offer_growth(&mut self) {
        for hash in &self.history[self.offered..] {
            if !self.peer_beyond.remove(hash) {
                self.queue.push_back(*hash);
            }
        }
        self.offered = self.history.len();
    }

    pub(crate) fn on_read(
        &mut self,
        entries: Vec<Vec<u8>>,
        steps: &mut Vec<Step>,
    ) -> Result<(), CloseReason> {
        if self.reading == 0 {
            return Ok(());
        }
        if entries.is_empty() || entries.len() > self.reading {
            return Err(CloseReason::StoreFailed);
        }
        self.queue.drain(..entries.len());
        self.reading = 0;
        self.unacknowledged = true;
        steps.push(Step::SendEntries(entries));
        Ok(())
    }

    pub(crate) fn on_received(&mut self, steps: &mut Vec<Step>) -> Result<(), CloseReason> {
        if !self.unacknowledged {
            return Err(CloseReason::WrongOrder);
        }
        self.unacknowledged = false;
        self.advance(steps);
        Ok(())
    }

    pub(crate) fn on_entries(
        &mut self,
        entries: Vec<Vec<u8>>,
        steps: &mut Vec<Step>,
    ) -> Result<(), CloseReason> {
        if self.phase != Phase::Live {
            return Err(CloseReason::WrongOrder);
        }
        if self.applying {
            return Err(CloseReason::Flooded);
        }
        for entry in &entries {
            self.peer_beyond
                .insert(ControlHash(Sha256::digest(entry).into()));
        }
        if self.peer_beyond.len() > 2 * HISTORY_MAX {
            return Err(CloseReason::Flooded);
        }
        self.applying = true;
        self.in_sync = false;
        steps.push(Step::Apply(entries));
        Ok(())
    }

    pub(crate) fn on_applied(&mut self, history: Arc<[ControlHash]>, steps: &mut Vec<Step>) {
        if !std::mem::take(&mut self.applying) {
            return;
        }
        steps.push(Step::SendReceived);
        self.on_history(history, steps);
    }

    fn advance(&mut self, steps: &mut Vec<Step>) {
        if self.phase != Phase::Live {
            return;
        }
        let busy = self.reading > 0 || self.unacknowledged;
        if !busy && !self.queue.is_empty() {
            let wanted: Vec<ControlHash> = self.queue.iter().take(READ_MAX).copied().collect();
            self.reading = wanted.len();
            self.in_sync = false;
            steps.push(Step::Read(wanted));
        } else if !busy && !self.applying && self.awaited.is_empty() && !self.in_sync {
            self.in_sync = true;
            steps.push(Step::InSync);
        }
    }
}

fn bucket(hash: &ControlHash) -> usize {
    usize::from(hash.0[0])
}

pub(crate) fn digest(history: &[ControlHash]) -> [u8; 32] {
    let mut sorted = history.to_vec();
    sorted.sort_unstable();
    let mut sha = Sha256::new();
    sha.update(b"aeroedge control v1");
    for hash in sorted {
        sha.update(hash.0);
    }
    sha.finalize().into()
}

/// Keyed by the link, so that nobody can prepare entries that hide each other behind eight bytes.
pub(crate) fn buckets(salt: &[u8; 32], history: &[ControlHash]) -> Box<Buckets> {
    let mut sorted = history.to_vec();
    sorted.sort_unstable();
    let mut buckets = Box::new([[0; 8]; BUCKETS]);
    for run in sorted.chunk_by(|a, b| bucket(a) == bucket(b)) {
        let mut sha = Sha256::new();
        sha.update(salt);
        for hash in run {
            sha.update(hash.0);
        }
        buckets[bucket(&run[0])].copy_from_slice(&sha.finalize()[..8]);
    }
    buckets
}
