//! The world: every node, every link and one queue of what happens when.
//!
//! Invariant: one thread, one true time, and every choice from the seed; nothing depends on memory addresses or on a
//! real clock.

use std::collections::{BTreeMap, BTreeSet};

use aeroedge_ids::{CompartmentId, ContextId, Millis};
use aeroedge_log::compartment::{Audience, Division};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::answer::describe;
use crate::invariant::Broken;
use crate::links::{WATCH_MS, Wire};
use crate::machine::{LinkId, Machine};
use crate::oracle::Oracle;
use crate::plan::{Bug, Plan};
use crate::trace::Trace;

/// What can happen at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happening {
    /// The oldest frame under way to one end arrives.
    Deliver { link: LinkId, side: usize },
    /// A session may have something to do.
    Wake { node: usize, link: LinkId },
    /// A node answers what its sessions asked, as one group.
    Work { node: usize },
    /// A node looks around.
    Look { node: usize },
    /// Somebody writes on a node.
    Write { node: usize },
    /// A node tries to reach others.
    Dial { node: usize },
    /// A context is founded.
    Found { context: usize },
    /// A node is invited.
    Invite { context: usize, node: usize },
    /// Some link dies.
    Cut,
    /// The next frame anybody sends is manipulated.
    Tamper,
    /// The network falls apart, or comes together.
    Part,
    /// Somebody changes who belongs to a context.
    Administer,
    /// Some node crashes, now or amid its next work.
    Crash,
    /// A node starts again.
    Restart { node: usize },
}

/// How a run went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first invariant that did not hold.
    pub broken: Option<Broken>,
    /// What kind of world it was.
    pub scenarios: Vec<&'static str>,
    /// Hash of everything that happened.
    pub trace: [u8; 32],
    /// Everything that happened, if it was asked for.
    pub lines: Vec<String>,
    /// What it amounted to.
    pub figures: Figures,
}

/// What a run amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Nodes.
    pub nodes: u64,
    /// Things that happened.
    pub events: u64,
    /// Transactions committed.
    pub writes: u64,
    /// Transactions that were refused for want of a key.
    pub refused_writes: u64,
    /// Rows at the end, over all contexts.
    pub rows: u64,
    /// Conflicts still open at the end, over all contexts.
    pub conflicts: u64,
    /// Links made.
    pub links: u64,
    /// Links that died.
    pub cuts: u64,
    /// Partitions.
    pub partitions: u64,
    /// Nodes killed.
    pub kills: u64,
    /// Nodes that lost power.
    pub power_cuts: u64,
    /// Commits that a power cut took.
    pub lost_commits: u64,
    /// Frames manipulated.
    pub tampered: u64,
    /// Sessions that ended because of what a peer sent.
    pub refusals: u64,
    /// Memberships gained through an invite.
    pub joins: u64,
    /// Links begun anew because entries of a new member came before its admission.
    pub early_entries: u64,
    /// Members and devices shut out.
    pub removals: u64,
    /// Members given another role.
    pub role_changes: u64,
    /// Keys replaced for no other reason.
    pub rotations: u64,
    /// Invites withdrawn.
    pub voids: u64,
    /// Administrative acts that a device refused its own user.
    pub refused_acts: u64,
    /// Joins that came too late for their invite.
    pub stale_invites: u64,
    /// Members who learned that their admission does not stand.
    pub stranded: u64,
    /// Wrong secrets typed.
    pub wrong_secrets: u64,
    /// True time that passed, milliseconds.
    pub time_ms: u64,
}

impl Figures {
    /// What went wrong or was done to people, by kind.
    pub fn faults(&self) -> [(&'static str, u64); 12] {
        [
            ("links cut", self.cuts),
            ("partitions", self.partitions),
            ("kills", self.kills),
            ("power cuts", self.power_cuts),
            ("commits lost", self.lost_commits),
            ("frames manipulated", self.tampered),
            ("wrong secrets", self.wrong_secrets),
            ("removals", self.removals),
            ("role changes", self.role_changes),
            ("rotations", self.rotations),
            ("invites voided", self.voids),
            ("joins overtaken", self.stale_invites + self.stranded),
        ]
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) bug: Option<Bug>,
    pub(crate) now: u64,
    pub(crate) rng: ChaCha12Rng,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    pub(crate) machines: Vec<Machine>,
    pub(crate) wires: BTreeMap<LinkId, Wire>,
    /// In which part of the network a node is.
    pub(crate) parts: Vec<u8>,
    /// The contexts of the plan, once founded.
    pub(crate) contexts: Vec<Option<ContextId>>,
    /// Who was shut out of which context.
    pub(crate) out: BTreeSet<(usize, usize)>,
    /// Whose admission to some context did not stand at first.
    pub(crate) stranded: BTreeSet<usize>,
    /// Whose rights in a context were ever changed.
    pub(crate) reduced: BTreeSet<(usize, usize)>,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) figures: Figures,
    /// No more trouble, and nobody writes.
    pub(crate) healing: bool,
    pub(crate) tamper_next: bool,
}

/// How long a healed world may take to become equal, milliseconds.
const DRAIN_MAX_MS: u64 = 300_000;

/// Runs one seed to its end.
pub fn run(seed: u64, bug: Option<Bug>, keep_lines: bool) -> Outcome {
    run_plan(seed, Plan::of_seed(seed), bug, keep_lines)
}

pub(crate) fn run_plan(seed: u64, plan: Plan, bug: Option<Bug>, keep_lines: bool) -> Outcome {
    let scenarios = plan.scenarios();
    let mut world = World {
        bug,
        now: 0,
        rng: ChaCha12Rng::seed_from_u64(seed),
        queue: BTreeMap::new(),
        queued: 0,
        machines: Vec::new(),
        wires: BTreeMap::new(),
        parts: vec![0; plan.nodes],
        contexts: vec![None; plan.contexts.len()],
        out: BTreeSet::new(),
        reduced: BTreeSet::new(),
        stranded: BTreeSet::new(),
        oracle: Oracle::default(),
        trace: Trace::new(keep_lines),
        figures: Figures {
            nodes: plan.nodes as u64,
            ..Figures::default()
        },
        healing: false,
        tamper_next: false,
        plan,
    };
    let broken = world.play(seed).err();
    if let Some(broken) = &broken {
        world.note(format_args!("BROKEN: {broken}"));
    }
    world.figures.events = world.trace.count();
    world.figures.time_ms = world.now;
    let (trace, lines) = world.trace.finish();
    Outcome {
        seed,
        broken,
        scenarios,
        trace,
        lines,
        figures: world.figures,
    }
}

impl World {
    fn play(&mut self, seed: u64) -> Result<(), Broken> {
        self.set_out(seed)?;
        let trouble = self.plan.trouble_ms;
        self.run_until(trouble)?;
        self.heal()?;
        let deadline = self.now + DRAIN_MAX_MS;
        loop {
            self.run_until(self.now + 2_000)?;
            match self.unequal()? {
                None => break,
                Some(reason) if self.now >= deadline => return Err(Broken::NotConverged(reason)),
                Some(_) => {}
            }
        }
        // What was only announced is sent and acknowledged within a second or two.
        self.run_until(self.now + 5_000)?;
        let before = self.spoken_so_far();
        self.run_until(self.now + WATCH_MS)?;
        self.check_quiet(&before)?;
        self.check_all()?;
        self.check_equal()
    }

    fn set_out(&mut self, seed: u64) -> Result<(), Broken> {
        for node in 0..self.plan.nodes {
            let machine = Machine::new(node, seed, self.plan.skews_ms[node])
                .map_err(|error| fault(node, &describe(&error)))?;
            self.note(format_args!(
                "node {node} begins, clock {:+} ms",
                machine.skew_ms
            ));
            self.machines.push(machine);
            self.soon(500, Happening::Look { node });
            self.soon(1_000, Happening::Dial { node });
            self.soon(self.plan.write_every_ms, Happening::Write { node });
        }
        for context in 0..self.plan.contexts.len() {
            self.soon(900, Happening::Found { context });
            for (node, at) in self.plan.contexts[context].joiners.clone() {
                self.at(at, Happening::Invite { context, node });
            }
        }
        self.soon(self.plan.cut_every_ms, Happening::Cut);
        self.soon(self.plan.tamper_every_ms, Happening::Tamper);
        self.soon(self.plan.part_every_ms, Happening::Part);
        self.soon(self.plan.crash_every_ms, Happening::Crash);
        self.soon(self.plan.administer_every_ms, Happening::Administer);
        Ok(())
    }

    /// No more faults from here on: everything that is off is switched on, every link is made anew.
    fn heal(&mut self) -> Result<(), Broken> {
        self.note(format_args!("everything heals"));
        self.healing = true;
        self.tamper_next = false;
        self.parts.fill(0);
        let links: Vec<LinkId> = self.wires.keys().copied().collect();
        for link in links {
            self.cut(link)?;
        }
        for node in 0..self.machines.len() {
            self.machines[node].crash_in = None;
            self.restart(node)?;
        }
        Ok(())
    }

    fn run_until(&mut self, end: u64) -> Result<(), Broken> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            self.now = entry.key().0;
            let happening = entry.remove();
            self.happen(happening)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Deliver { link, side } => self.deliver(link, side),
            Happening::Wake { node, link } => self.wake(node, link),
            Happening::Work { node } => self.work(node),
            Happening::Look { node } => {
                self.soon(900, Happening::Look { node });
                self.look(node)
            }
            Happening::Write { node } if !self.healing => {
                self.soon(self.plan.write_every_ms, Happening::Write { node });
                self.write(node)
            }
            Happening::Dial { node } => {
                self.soon(1_200, Happening::Dial { node });
                self.dial(node)
            }
            Happening::Found { context } => self.found(context),
            Happening::Invite { context, node } => self.invite(context, node),
            Happening::Cut if !self.healing => {
                self.soon(self.plan.cut_every_ms, Happening::Cut);
                self.cut_any()
            }
            Happening::Tamper if !self.healing => {
                self.soon(self.plan.tamper_every_ms, Happening::Tamper);
                self.tamper_next = true;
                Ok(())
            }
            Happening::Part if !self.healing => {
                self.soon(self.plan.part_every_ms, Happening::Part);
                self.part()
            }
            Happening::Crash if !self.healing => {
                self.soon(self.plan.crash_every_ms, Happening::Crash);
                self.crash_any()
            }
            Happening::Administer if !self.healing => {
                self.soon(self.plan.administer_every_ms, Happening::Administer);
                self.administer()
            }
            Happening::Restart { node } => self.restart(node),
            Happening::Write { .. }
            | Happening::Cut
            | Happening::Tamper
            | Happening::Part
            | Happening::Administer
            | Happening::Crash => Ok(()),
        }
    }

    pub(crate) fn at(&mut self, time: u64, happening: Happening) {
        self.queued += 1;
        self.queue
            .insert((time.max(self.now), self.queued), happening);
    }

    /// At some moment, `mean_ms` from now on average; never if that is the greatest number.
    pub(crate) fn soon(&mut self, mean_ms: u64, happening: Happening) {
        if mean_ms < u64::MAX {
            let time = self.now + self.rng.random_range(1..=mean_ms.max(1) * 2);
            self.at(time, happening);
        }
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(Millis(self.now), what);
    }

    pub(crate) fn clock(&self, node: usize) -> Millis {
        self.machines[node].clock(self.now)
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.machines[node].device.is_some()
    }

    /// The nodes that the plan puts into a context.
    pub(crate) fn members(&self, context: usize) -> Vec<usize> {
        let plan = &self.plan.contexts[context];
        let mut members: Vec<usize> = plan.joiners.iter().map(|(node, _)| *node).collect();
        members.push(plan.founder);
        members.sort_unstable();
        members
    }

    /// The compartments of a founded context that its plan and members call for.
    pub(crate) fn compartments(&self, context: usize) -> Vec<(Audience, CompartmentId)> {
        let Some(id) = self.contexts[context] else {
            return Vec::new();
        };
        let mut audiences = vec![Audience::Everyone];
        if self.plan.contexts[context].division == Division::Divided {
            audiences.push(Audience::Staff);
            let persons = self.members(context).into_iter();
            audiences.extend(persons.map(|node| Audience::Person(self.machines[node].user)));
        }
        audiences
            .into_iter()
            .map(|audience| (audience, audience.compartment(id)))
            .collect()
    }
}

pub(crate) fn fault(node: usize, what: &str) -> Broken {
    Broken::Fault {
        node,
        what: what.to_owned(),
    }
}
