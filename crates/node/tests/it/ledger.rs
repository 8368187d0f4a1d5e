//! A store in memory: logs of plain bytes, one context with one compartment, faults on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aeroedge_ids::{
    CompartmentId, ContextId, ControlHash, DeviceKey, EntryHash, Millis, Seq, WriterKey,
};
use aeroedge_node::{
    ControlReceived, EntriesRead, JoinState, Judgement, Received, Store, StoreError, Tags,
};
use aeroedge_protocol::{
    Credential, Cursor, EndReason, Frontier, LinkKind, Run, Signature, WireHead,
};
use sha2::{Digest, Sha256};

pub(crate) const CONTEXT: ContextId = ContextId([0xc0; 16]);
pub(crate) const COMPARTMENT: CompartmentId = CompartmentId([0xc1; 16]);

/// Bytes read by senders and not yet taken in by receivers, and the most there ever were.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    now: AtomicI64,
    most: AtomicI64,
}

impl Outstanding {
    fn add(&self, bytes: i64) {
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn most(&self) -> i64 {
        self.most.load(Ordering::Relaxed)
    }
}

/// What a test may change while the store is in use.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) durable_takes_ms: AtomicU64,
    pub(crate) fail_receiving: AtomicU64,
    pub(crate) fail_durable: AtomicU64,
    pub(crate) durable_calls: AtomicU64,
    /// How many groups of writes fail to be committed from now on, and how many there were.
    pub(crate) fail_groups: AtomicU64,
    pub(crate) groups: AtomicU64,
    /// Entries that another process is said to have written.
    pub(crate) foreign: Mutex<Vec<Vec<u8>>>,
    pub(crate) outstanding: Arc<Outstanding>,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    device: DeviceKey,
    writer: WriterKey,
    pub(crate) faults: Arc<Faults>,
    member_of: BTreeSet<ContextId>,
    /// Control entries of the one context; what they say does not matter here.
    control: Vec<Vec<u8>>,
    revoked: BTreeSet<DeviceKey>,
    joins: Vec<(ContextId, JoinState)>,
    entries: Vec<(WriterKey, Vec<u8>)>,
    logs: BTreeMap<WriterKey, Vec<usize>>,
    /// Own entries that may be offered.
    durable: u64,
    /// Entries that were here when writes began to be held back.
    held_back_after: Option<usize>,
}

impl Ledger {
    pub(crate) fn new(number: u8) -> Self {
        Self::with_faults(number, Arc::default())
    }

    pub(crate) fn with_faults(number: u8, faults: Arc<Faults>) -> Self {
        Self {
            device: DeviceKey([number; 32]),
            writer: WriterKey([number; 32]),
            faults,
            member_of: BTreeSet::from([CONTEXT]),
            control: vec![b"genesis".to_vec()],
            revoked: BTreeSet::new(),
            joins: Vec::new(),
            entries: Vec::new(),
            logs: BTreeMap::new(),
            durable: 0,
            held_back_after: None,
        }
    }

    pub(crate) fn write(&mut self, content: impl Into<Vec<u8>>) {
        self.append(self.writer, content.into());
    }

    /// Turns into the copy that another device holds.
    pub(crate) fn call_itself(&mut self, number: u8) {
        self.device = DeviceKey([number; 32]);
        self.writer = WriterKey([number; 32]);
    }

    /// Everything that is here, whatever the order of arrival.
    pub(crate) fn content(&self) -> BTreeSet<Vec<u8>> {
        self.entries
            .iter()
            .map(|(_, bytes)| bytes.clone())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn revoke(&mut self, device: u8) {
        self.revoked.insert(DeviceKey([device; 32]));
        self.control.push(vec![device]);
    }

    pub(crate) fn become_member_of(&mut self, context: ContextId) {
        self.member_of.insert(context);
        self.joins.push((context, JoinState::Searching));
    }

    fn append(&mut self, writer: WriterKey, bytes: Vec<u8>) {
        self.logs
            .entry(writer)
            .or_default()
            .push(self.entries.len());
        self.entries.push((writer, bytes));
    }

    fn offered(&self, writer: WriterKey) -> u64 {
        let held = self.logs.get(&writer).map_or(0, |log| log.len() as u64);
        if writer == self.writer {
            held.min(self.durable)
        } else {
            held
        }
    }
}

struct Keyed(usize);

impl Tags for Keyed {
    fn tags(&self, nonce: &[u8; 16]) -> Vec<[u8; 8]> {
        vec![nonce[..8].try_into().unwrap(); self.0]
    }

    fn recognises(&self, nonce: &[u8; 16], tags: &[[u8; 8]]) -> bool {
        self.tags(nonce).iter().any(|tag| tags.contains(tag))
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Store for Ledger {
    type Touched = usize;

    fn device(&self) -> DeviceKey {
        self.device
    }

    fn credentials(&mut self) -> Result<Vec<Credential>, StoreError> {
        let member = |context: &ContextId| Credential::Member {
            context: *context,
            link_keys: vec![hash(&context.0)],
        };
        Ok(self.member_of.iter().map(member).collect())
    }

    fn tags(&mut self) -> Result<Arc<dyn Tags>, StoreError> {
        Ok(Arc::new(Keyed(self.member_of.len())))
    }

    fn sign(&mut self, _: &[u8]) -> Result<Signature, StoreError> {
        Ok([7; 64])
    }

    fn contexts(&mut self) -> Result<Vec<(ContextId, usize)>, StoreError> {
        Ok(vec![(CONTEXT, self.control.len())])
    }

    fn history(&mut self, _: ContextId) -> Result<Arc<[ControlHash]>, StoreError> {
        Ok(self
            .control
            .iter()
            .map(|entry| ControlHash(hash(entry)))
            .collect())
    }

    fn control_entries(
        &mut self,
        _: ContextId,
        hashes: &[ControlHash],
        _: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let found = |wanted: &ControlHash| {
            self.control
                .iter()
                .find(|entry| hash(entry) == wanted.0)
                .cloned()
        };
        Ok(hashes.iter().filter_map(found).collect())
    }

    fn receive_control(
        &mut self,
        _: ContextId,
        _: LinkKind,
        entries: Vec<Vec<u8>>,
        _: Millis,
    ) -> Result<ControlReceived, StoreError> {
        for entry in entries {
            if !self.control.contains(&entry) {
                self.control.push(entry);
            }
        }
        Ok(ControlReceived::Stored)
    }

    fn judge(
        &mut self,
        _: ContextId,
        device: DeviceKey,
        _: &[u8],
        _: &Signature,
    ) -> Result<Judgement, StoreError> {
        Ok(if self.revoked.contains(&device) {
            Judgement::Refused(EndReason::Revoked)
        } else {
            Judgement::Accepted(BTreeMap::from([(COMPARTMENT, self.frontier(COMPARTMENT)?)]))
        })
    }

    fn compartments(&mut self, _: ContextId) -> Result<Vec<CompartmentId>, StoreError> {
        Ok(vec![COMPARTMENT])
    }

    fn frontier(&mut self, _: CompartmentId) -> Result<Frontier, StoreError> {
        let offered = |writer: &WriterKey| (*writer, Seq(self.offered(*writer)));
        Ok(self
            .logs
            .keys()
            .map(offered)
            .filter(|(_, seq)| seq.0 > 0)
            .collect())
    }

    fn read_entries(
        &mut self,
        _: CompartmentId,
        peer: &Frontier,
        after: Cursor,
        bytes_max: usize,
    ) -> Result<EntriesRead, StoreError> {
        let mut seqs: BTreeMap<WriterKey, u64> = BTreeMap::new();
        let mut read = EntriesRead {
            next: after,
            exhausted: true,
            ..EntriesRead::default()
        };
        let mut bytes = 0;
        for (position, (writer, entry)) in self.entries.iter().enumerate() {
            let seq = seqs.entry(*writer).or_default();
            *seq += 1;
            let has = peer.get(writer).map_or(0, |seq| seq.0);
            if position < after.0 as usize || *seq <= has || *seq > self.offered(*writer) {
                continue;
            }
            if bytes > 0 && bytes + entry.len() > bytes_max {
                read.exhausted = false;
                break;
            }
            bytes += entry.len();
            read.next = Cursor(position as u64 + 1);
            match read.runs.last_mut() {
                Some(run) if run.writer == *writer => run.entries.push(entry.clone()),
                _ => read.runs.push(Run {
                    writer: *writer,
                    first: Seq(*seq),
                    entries: vec![entry.clone()],
                    head: None,
                }),
            }
        }
        for run in &mut read.runs {
            let last = run.entries.last().unwrap();
            run.head = Some(WireHead {
                seq: run.last(),
                hash: EntryHash(hash(last)),
                signature: [0; 64],
            });
        }
        self.faults.outstanding.add(bytes as i64);
        Ok(read)
    }

    fn receive_entries(
        &mut self,
        batches: &[(ContextId, CompartmentId, Vec<Run>)],
        _: Millis,
    ) -> Result<Received<usize>, StoreError> {
        if self.faults.fail_receiving.load(Ordering::Relaxed) > 0 {
            self.faults.fail_receiving.fetch_sub(1, Ordering::Relaxed);
            return Err("the disk is full".into());
        }
        let mut changed = Frontier::new();
        let mut received = Received {
            contexts: BTreeSet::from([CONTEXT]),
            tables: BTreeSet::from(["note".to_owned()]),
            touched: Some(0),
            changed: BTreeMap::new(),
            declined: Vec::new(),
            forked: false,
            parted: false,
        };
        for run in batches.iter().flat_map(|(_, _, runs)| runs) {
            let known = self.logs.get(&run.writer).map_or(0, |log| log.len() as u64);
            if run.first.0 > known + 1 {
                received.declined.push(run.writer);
                continue;
            }
            for (offset, entry) in run.entries.iter().enumerate() {
                self.faults.outstanding.add(-(entry.len() as i64));
                if run.first.0 + offset as u64 > known {
                    self.append(run.writer, entry.clone());
                }
            }
            changed.insert(run.writer, Seq(self.offered(run.writer)));
        }
        received.changed.insert(COMPARTMENT, changed);
        Ok(received)
    }

    fn settle(&mut self, _: Millis) -> Result<Received<usize>, StoreError> {
        Ok(Received {
            contexts: BTreeSet::new(),
            tables: BTreeSet::new(),
            touched: None,
            changed: BTreeMap::new(),
            declined: Vec::new(),
            forked: false,
            parted: false,
        })
    }

    fn begin_group(&mut self) {
        self.faults.groups.fetch_add(1, Ordering::Relaxed);
        self.held_back_after = Some(self.entries.len());
    }

    fn end_group(&mut self) -> Result<(), StoreError> {
        let held = self.held_back_after.take();
        let fails = |left: u64| left.checked_sub(1);
        let failing = &self.faults.fail_groups;
        if let Some(held) = held
            && failing
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails)
                .is_ok()
        {
            self.entries.truncate(held);
            for log in self.logs.values_mut() {
                log.retain(|place| *place < held);
            }
            return Err("the disk is full".into());
        }
        Ok(())
    }

    fn make_durable(&mut self) -> Result<bool, StoreError> {
        self.end_group()?;
        self.faults.durable_calls.fetch_add(1, Ordering::Relaxed);
        let pause = self.faults.durable_takes_ms.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(pause));
        if self.faults.fail_durable.load(Ordering::Relaxed) > 0 {
            return Err("the disk is full".into());
        }
        let held = self
            .logs
            .get(&self.writer)
            .map_or(0, |log| log.len() as u64);
        let moved = held != self.durable;
        self.durable = held;
        Ok(moved)
    }

    fn refresh(&mut self) -> Result<bool, StoreError> {
        let foreign = std::mem::take(&mut *self.faults.foreign.lock().unwrap());
        let any = !foreign.is_empty();
        for entry in foreign {
            self.write(entry);
        }
        Ok(any)
    }

    fn joins(&mut self) -> Vec<(ContextId, JoinState)> {
        self.joins.clone()
    }

    fn is_own(&self, _: ContextId, writer: WriterKey) -> bool {
        writer == self.writer
    }
}
