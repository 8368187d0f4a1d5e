//! A failing run made small: the same seed with fewer kinds of trouble, for a shorter time, as long as it still fails.

use crate::invariant::Broken;
use crate::plan::{Bug, Plan};
use crate::world::{Outcome, run_plan};

/// A kind of trouble that a run can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Links that die.
    Cuts,
    /// Machines that crash.
    Crashes,
    /// Networks that fall apart.
    Partitions,
    /// Frames that somebody manipulates.
    Tampering,
    /// People who are removed, demoted and promoted.
    Administration,
    /// Clocks that are not right.
    Clocks,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Cuts,
        Self::Crashes,
        Self::Partitions,
        Self::Tampering,
        Self::Administration,
        Self::Clocks,
    ];

    /// Its word on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuts => "cuts",
            Self::Crashes => "crashes",
            Self::Partitions => "partitions",
            Self::Tampering => "tampering",
            Self::Administration => "administration",
            Self::Clocks => "clocks",
        }
    }
}

/// What is left out of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lessened {
    /// These kinds of trouble.
    pub without: Vec<Trouble>,
    /// Trouble after this time, milliseconds.
    pub trouble_ms: Option<u64>,
}

impl Lessened {
    /// Reads `crashes,cuts` and a number of milliseconds, either of which may be missing.
    pub fn parse(without: Option<&str>, trouble_ms: Option<&str>) -> Result<Self, String> {
        let mut lessened = Self::default();
        for word in without.into_iter().flat_map(|list| list.split(',')) {
            let trouble = Trouble::ALL
                .into_iter()
                .find(|trouble| trouble.name() == word.trim());
            lessened
                .without
                .push(trouble.ok_or_else(|| format!("there is no trouble called {word:?}"))?);
        }
        lessened.trouble_ms = trouble_ms
            .map(|number| {
                number
                    .parse()
                    .map_err(|_| format!("{number:?} is no number of milliseconds"))
            })
            .transpose()?;
        Ok(lessened)
    }

    fn apply(&self, plan: &mut Plan) {
        for trouble in &self.without {
            match trouble {
                Trouble::Cuts => plan.cut_every_ms = u64::MAX,
                Trouble::Crashes => plan.crash_every_ms = u64::MAX,
                Trouble::Partitions => plan.part_every_ms = u64::MAX,
                Trouble::Tampering => plan.tamper_every_ms = u64::MAX,
                Trouble::Administration => plan.administer_every_ms = u64::MAX,
                Trouble::Clocks => plan.skews_ms.fill(0),
            }
        }
        if let Some(limit) = self.trouble_ms {
            plan.trouble_ms = plan.trouble_ms.min(limit);
        }
    }
}

impl std::fmt::Display for Lessened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.without.is_empty() {
            let names: Vec<&str> = self.without.iter().map(|trouble| trouble.name()).collect();
            write!(f, "AEROEDGE_SIM_WITHOUT={} ", names.join(","))?;
        }
        match self.trouble_ms {
            Some(limit) => write!(f, "AEROEDGE_SIM_TROUBLE_MS={limit} "),
            None => Ok(()),
        }
    }
}

/// Runs one seed with less trouble than it has.
pub fn run_lessened(seed: u64, bug: Option<Bug>, lessened: &Lessened, keep_lines: bool) -> Outcome {
    let mut plan = Plan::of_seed(seed);
    lessened.apply(&mut plan);
    run_plan(seed, plan, bug, keep_lines)
}

/// Leaves out of a failing run whatever it fails without; returns that and how it fails then.
pub fn lessen(seed: u64, bug: Option<Bug>) -> Option<(Lessened, Broken)> {
    let fails = |lessened: &Lessened| run_lessened(seed, bug, lessened, false).broken;
    let mut smallest = Lessened::default();
    let mut broken = fails(&smallest)?;
    for trouble in Trouble::ALL {
        let mut smaller = smallest.clone();
        smaller.without.push(trouble);
        if let Some(still) = fails(&smaller) {
            (smallest, broken) = (smaller, still);
        }
    }
    let mut limit = Plan::of_seed(seed).trouble_ms;
    while limit > 2_000 {
        limit = limit * 2 / 3;
        let smaller = Lessened {
            trouble_ms: Some(limit),
            ..smallest.clone()
        };
        match fails(&smaller) {
            Some(still) => (smallest, broken) = (smaller, still),
            None => break,
        }
    }
    Some((smallest, broken))
}
