//! A model of a device's database: what a driver must keep, in its simplest form.
//!
//! It panics where a session breaks its promises: a gap in a log, a child before its parent, a false head.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aeroedge_ids::{CompartmentId, ContextId, ControlHash, DeviceKey, EntryHash, Seq, WriterKey};
use aeroedge_protocol::{Credential, Cursor, Frontier, Run, Signature, WireHead};
use rand::{Rng, RngExt};
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) writer: WriterKey,
    pub(crate) seq: Seq,
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: Option<WireHead>,
}

#[derive(Debug, Default)]
pub(crate) struct Compartment {
    pub(crate) arrivals: Vec<Stored>,
    tails: Frontier,
    pub(crate) vouched: Frontier,
}

#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) control: Vec<(ControlHash, Vec<u8>)>,
    pub(crate) compartments: BTreeMap<CompartmentId, Compartment>,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) device: DeviceKey,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) contexts: BTreeMap<ContextId, Context>,
    /// Entries of these writers are declined.
    pub(crate) distrusted: BTreeSet<WriterKey>,
    /// Whether peers may be hostile: then what does not hold is declined, else it is a fault of the session.
    pub(crate) wary: bool,
    /// Writers of this device.
    pub(crate) own: BTreeSet<WriterKey>,
}

/// What a control entry of the model says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    Add(DeviceKey),
    Revoke(DeviceKey),
}

impl Store {
    pub(crate) fn new(number: u8) -> Self {
        Self {
            device: DeviceKey([number; 32]),
            credentials: Vec::new(),
            contexts: BTreeMap::new(),
            distrusted: BTreeSet::new(),
            wary: false,
            own: BTreeSet::new(),
        }
    }

    /// Makes this device a member's device: it holds the link key and these compartments.
    pub(crate) fn enter(
        &mut self,
        context: ContextId,
        link_key: u8,
        compartments: &[CompartmentId],
    ) {
        self.credentials.push(Credential::Member {
            context,
            link_keys: vec![[link_key; 32]],
        });
        let held = self.contexts.entry(context).or_default();
        for compartment in compartments {
            held.compartments.entry(*compartment).or_default();
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        signature(self.device, message)
    }

    pub(crate) fn hashes(&self, context: ContextId) -> Arc<[ControlHash]> {
        self.contexts[&context]
            .control
            .iter()
            .map(|(hash, _)| *hash)
            .collect()
    }

    /// Appends a control entry whose parents are the present heads (here: the last entry).
    pub(crate) fn govern(&mut self, context: ContextId, action: Action, rng: &mut impl Rng) {
        let held = self.contexts.entry(context).or_default();
        let mut bytes = match action {
            Action::Nothing => vec![0; 33],
            Action::Add(device) => [&[1], device.as_bytes().as_slice()].concat(),
            Action::Revoke(device) => [&[2], device.as_bytes().as_slice()].concat(),
        };
        bytes.extend(rng.random::<[u8; 16]>());
        if let Some((parent, _)) = held.control.last() {
            bytes.extend(parent.as_bytes());
        }
        held.control.push((control_hash(&bytes), bytes));
    }

    pub(crate) fn read_control(
        &self,
        context: ContextId,
        hashes: &[ControlHash],
        bytes_max: usize,
    ) -> Vec<Vec<u8>> {
        let held: BTreeMap<_, _> = self.contexts[&context]
            .control
            .iter()
            .map(|(hash, bytes)| (hash, bytes))
            .collect();
        let mut total = 0;
        let mut entries = Vec::new();
        for hash in hashes {
            total += held[hash].len();
            if total > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(held[hash].clone());
        }
        entries
    }

    /// Stores control entries; true if something was new, `None` if an entry does not hold.
    pub(crate) fn apply_control(
        &mut self,
        context: ContextId,
        entries: &[Vec<u8>],
    ) -> Option<bool> {
        let held = self.contexts.entry(context).or_default();
        let mut known: BTreeSet<ControlHash> = held.control.iter().map(|(hash, _)| *hash).collect();
        let mut new = false;
        for bytes in entries {
            if bytes.len() < 49 || bytes[0] > 2 {
                return None;
            }
            for parent in bytes[49..].chunks(32) {
                let in_order = parent
                    .try_into()
                    .is_ok_and(|parent| known.contains(&ControlHash(parent)));
                assert!(in_order || self.wary, "a child came before its parent");
                if !in_order {
                    return None;
                }
            }
            let hash = control_hash(bytes);
            if known.insert(hash) {
                held.control.push((hash, bytes.clone()));
                new = true;
            }
        }
        Some(new)
    }

    pub(crate) fn is_member(&self, context: ContextId, device: DeviceKey) -> Option<bool> {
        let mut state = None;
        for (_, bytes) in &self.contexts[&context].control {
            if bytes[1..33] == device.0 && bytes[0] > 0 {
                state = Some(bytes[0] == 1 && state != Some(false));
            }
        }
        state
    }

    /// Appends own entries, vouched for by one head at the end.
    pub(crate) fn write(
        &mut self,
        context: ContextId,
        compartment: CompartmentId,
        writer: WriterKey,
        sizes: &[usize],
        rng: &mut impl Rng,
    ) -> Frontier {
        self.own.insert(writer);
        let held = self
            .contexts
            .get_mut(&context)
            .unwrap()
            .compartments
            .get_mut(&compartment)
            .unwrap();
        for (index, size) in sizes.iter().enumerate() {
            let seq = held.tails.get(&writer).copied().unwrap_or_default().next();
            let mut bytes = vec![0; (*size).max(24)];
            rng.fill_bytes(&mut bytes[..24]);
            let hash = EntryHash(Sha256::digest(&bytes).into());
            let head = (index + 1 == sizes.len()).then_some(WireHead {
                seq,
                hash,
                signature: [writer.0[0]; 64],
            });
            held.arrivals.push(Stored {
                writer,
                seq,
                bytes,
                head,
            });
            held.tails.insert(writer, seq);
        }
        let seq = held.tails[&writer];
        held.vouched.insert(writer, seq);
        Frontier::from([(writer, seq)])
    }

    pub(crate) fn frontiers(&self, context: ContextId) -> BTreeMap<CompartmentId, Frontier> {
        let compartments = &self.contexts[&context].compartments;
        compartments
            .iter()
            .map(|(id, held)| (*id, held.vouched.clone()))
            .collect()
    }

    pub(crate) fn read(
        &self,
        context: ContextId,
        compartment: CompartmentId,
        after: Cursor,
        peer: &Frontier,
        bytes_max: usize,
    ) -> (Vec<Run>, Cursor, bool) {
        let held = &self.contexts[&context].compartments[&compartment];
        let mut runs: Vec<Run> = Vec::new();
        let mut bytes = 0;
        let mut left_out = None;
        for (index, stored) in held.arrivals.iter().enumerate().skip(after.0 as usize) {
            let has = peer.get(&stored.writer).copied().unwrap_or_default();
            if stored.seq <= has {
                continue;
            }
            if stored.seq
                > held
                    .vouched
                    .get(&stored.writer)
                    .copied()
                    .unwrap_or_default()
            {
                left_out = left_out.or(Some(index));
                continue;
            }
            bytes += stored.bytes.len();
            if bytes > bytes_max && !runs.is_empty() {
                let next = left_out.unwrap_or(index);
                return (runs, Cursor(next as u64), false);
            }
            match runs.last_mut() {
                Some(run) if run.writer == stored.writer && run.head.is_none() => {
                    run.entries.push(stored.bytes.clone());
                    run.head = stored.head;
                }
                _ => runs.push(Run {
                    writer: stored.writer,
                    first: stored.seq,
                    entries: vec![stored.bytes.clone()],
                    head: stored.head,
                }),
            }
        }
        let next = left_out.unwrap_or(held.arrivals.len());
        (runs, Cursor(next as u64), true)
    }

    /// Stores runs; what moved, who is declined.
    pub(crate) fn apply(
        &mut self,
        context: ContextId,
        compartment: CompartmentId,
        runs: &[Run],
    ) -> (Frontier, Vec<WriterKey>) {
        let held = self
            .contexts
            .get_mut(&context)
            .unwrap()
            .compartments
            .get_mut(&compartment)
            .unwrap();
        let mut moved = Frontier::new();
        let mut declined = Vec::new();
        for run in runs {
            let tail = held.tails.get(&run.writer).copied().unwrap_or_default();
            let sound = run.first <= tail.next()
                && run.head.is_none_or(|head| {
                    let last = run.entries.last().map(Sha256::digest);
                    head.seq == run.last() && last.is_some_and(|last| head.hash.0[..] == last[..])
                });
            assert!(
                sound || self.wary,
                "a gap, or a false head: {:?} from {}",
                run.writer,
                run.first
            );
            if !sound || self.distrusted.contains(&run.writer) {
                declined.push(run.writer);
                continue;
            }
            let mut seq = run.first;
            for bytes in &run.entries {
                if seq > held.tails.get(&run.writer).copied().unwrap_or_default() {
                    held.arrivals.push(Stored {
                        writer: run.writer,
                        seq,
                        bytes: bytes.clone(),
                        head: None,
                    });
                    held.tails.insert(run.writer, seq);
                }
                seq = seq.next();
            }
            if let Some(head) = run.head {
                let mut arrivals = held.arrivals.iter_mut().rev();
                let stored = arrivals
                    .find(|stored| stored.writer == run.writer && stored.seq == head.seq)
                    .unwrap();
                stored.head = Some(head);
                let vouched = held.vouched.entry(run.writer).or_default();
                if head.seq > *vouched {
                    *vouched = head.seq;
                    moved.insert(run.writer, head.seq);
                }
            }
        }
        (moved, declined)
    }

    /// The vouched content of a compartment, whatever its order of arrival.
    pub(crate) fn content(
        &self,
        context: ContextId,
        compartment: CompartmentId,
    ) -> BTreeMap<(WriterKey, Seq), Vec<u8>> {
        let held = &self.contexts[&context].compartments[&compartment];
        held.arrivals
            .iter()
            .filter(|stored| {
                stored.seq
                    <= held
                        .vouched
                        .get(&stored.writer)
                        .copied()
                        .unwrap_or_default()
            })
            .map(|stored| ((stored.writer, stored.seq), stored.bytes.clone()))
            .collect()
    }

    pub(crate) fn control_set(&self, context: ContextId) -> BTreeSet<ControlHash> {
        self.contexts[&context]
            .control
            .iter()
            .map(|(hash, _)| *hash)
            .collect()
    }
}

pub(crate) fn signature(device: DeviceKey, message: &[u8]) -> Signature {
    let half =
        |label: u8| Sha256::digest([&[label], device.as_bytes().as_slice(), message].concat());
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&half(1));
    signature[32..].copy_from_slice(&half(2));
    signature
}

fn control_hash(bytes: &[u8]) -> ControlHash {
    ControlHash(Sha256::digest(bytes).into())
}
