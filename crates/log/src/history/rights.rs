//! Who may write an entry, judged by what its writer knew and by everything known since.
//!
//! The writer's rights are those at the heads the entry names. Whatever took rights away since then, and the writer did
//! not know, limits them past its cut-offs, whatever head an entry names.

use aeroedge_ids::{CompartmentId, ControlHash, DeviceKey, EntryHash, Seq, UserId, WriterKey};

use super::{History, UnknownHeads};
use crate::control::{Rights, Role};
use crate::entry::EntryRef;

/// What an entry says about itself, as far as rights depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who wrote it.
    pub writer: WriterKey,
    /// Where.
    pub compartment: CompartmentId,
    /// Its position in the log.
    pub seq: Seq,
    /// Under which epoch.
    pub epoch: ControlHash,
    /// Knowing what, ascending.
    pub heads: Vec<ControlHash>,
}

impl Claim {
    /// The claim of an entry.
    pub fn of(entry: &EntryRef<'_>) -> Self {
        Self {
            writer: entry.writer(),
            compartment: entry.compartment(),
            seq: entry.seq(),
            epoch: entry.epoch(),
            heads: entry.heads().collect(),
        }
    }
}

/// The log, or the branch of a forked log, in which an entry stands.
///
/// A cut-off names an entry by number and hash: of a log that was forked it lets only the branch count that leads to
/// that entry.
pub trait Chain {
    /// Whether the entry `seq` of this log has this hash. `None` while it is not here: then the entries before it are
    /// taken to lead to it, and judged anew once it has come.
    fn contains(&self, seq: Seq, hash: EntryHash) -> Option<bool>;
}

/// A log of which nothing is known: it is taken to lead to whatever a cut-off names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownChain;

impl Chain for UnknownChain {
    fn contains(&self, _seq: Seq, _hash: EntryHash) -> Option<bool> {
        None
    }
}

/// Who stands behind an entry, and with what rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The person.
    pub user: UserId,
    /// The installation.
    pub device: DeviceKey,
    /// What the person might do when writing it. Whether that includes the tables concerned is the application's rule.
    pub rights: Rights,
    /// The epochs whose keys together open it: one, or several after concurrent rotations.
    pub epochs: Vec<ControlHash>,
}

/// Why an entry does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It names heads that are not here: it waits for them.
    #[error("judge an entry whose membership heads are not here yet")]
    UnknownHeads(#[from] UnknownHeads),
    /// No member has this writer, as far as the entry's heads go or any more.
    #[error("accept an entry of writer {0}: no member has that writer")]
    NotAWriter(WriterKey),
    /// The writer's member, device or log had been shut out before, or was shut out and this lies past the cut-off.
    #[error("accept an entry: its writer was shut out by control entry {0}")]
    ShutOut(ControlHash),
    /// The writer may not read what it writes to.
    #[error("accept an entry: its writer has no access to compartment {0}")]
    NotInAudience(CompartmentId),
    /// The role is read-only.
    #[error("accept an entry: its writer may only read")]
    ReadOnly,
    /// Sealed under an epoch that was not current for someone who knew these heads.
    #[error("accept an entry: epoch {0} was not current")]
    Epoch(ControlHash),
}

impl History {
    /// Whether an entry counts, and with what rights. `chain` is the log in which it stands.
    pub fn may_write(&self, claim: &Claim, chain: &dyn Chain) -> Result<Author, Refusal> {
        let then = self.roster_at(&claim.heads)?;
        let now = self.roster_at(&self.heads())?;
        let unknown = || Refusal::NotAWriter(claim.writer);
        let writer = then.writer(claim.writer).ok_or_else(unknown)?;
        let known = now.writer(claim.writer).ok_or_else(unknown)?;
        let device = then.device(writer.device).ok_or_else(unknown)?;
        let member = then.member(writer.user).ok_or_else(unknown)?;
        if let Some(shut_out) = writer.ended().or(device.revoked).or(member.removed) {
            return Err(Refusal::ShutOut(shut_out));
        }
        // What gave the rights then must still count.
        let knows = |act| {
            let mut heads = claim.heads.iter();
            heads.any(|head| *head == act || self.order.knows(*head, act))
        };
        let mut rights = now
            .rights_seen(known.device, knows, &self.order)
            .map_err(|shut_out| shut_out.map_or_else(unknown, Refusal::ShutOut))?
            .limited_to(&member.rights);
        let mut own_closings = OwnClosings::None;
        for reduction in now
            .reductions()
            .filter(|reduction| reduction.concerns(known))
        {
            if then.has_reduction(reduction.entry) {
                continue;
            }
            let is_spared = reduction.spares(claim.writer, claim.compartment, claim.seq, chain);
            match &reduction.remaining {
                _ if reduction.is_own_closing(known) => {
                    own_closings.note(reduction.entry, is_spared);
                }
                _ if is_spared => {}
                Some(remaining) => rights = rights.limited_to(remaining),
                None => return Err(Refusal::ShutOut(reduction.entry)),
            }
        }
        if let OwnClosings::Strike(closing) = own_closings {
            return Err(Refusal::ShutOut(closing));
        }
        let compartment = then
            .compartment(claim.compartment)
            .filter(|compartment| compartment.audience.includes(member.user, &rights))
            .ok_or(Refusal::NotInAudience(claim.compartment))?;
        if rights.role == Role::ReadOnly {
            return Err(Refusal::ReadOnly);
        }
        let epochs = compartment
            .parts_of(claim.epoch)
            .ok_or(Refusal::Epoch(claim.epoch))?;
        Ok(Author {
            user: member.user,
            device: writer.device,
            rights,
            epochs,
        })
    }

    /// Whether the entry `seq` of a log cannot count, whatever it says and whether or not it ever arrives: nobody who had
    /// seen it needs to wait for it. `chain` is the log, as far as it is known.
    ///
    /// That is so if everything that introduces the writer is ignored, or if whatever keeps the writer from writing there
    /// now cut the log off before this entry. Like every reading it may change when control entries arrive. An entry that is
    /// here and was refused is as settled, which the caller knows.
    pub fn is_settled(
        &self,
        writer: WriterKey,
        compartment: CompartmentId,
        seq: Seq,
        chain: &dyn Chain,
    ) -> bool {
        let Some(now) = self.roster() else {
            return false;
        };
        let Some(known) = now.writer(writer) else {
            return now.is_turned_away(writer);
        };
        let mut own_closings = OwnClosings::None;
        for reduction in now
            .reductions()
            .filter(|reduction| reduction.concerns(known))
        {
            let is_spared = reduction.spares(writer, compartment, seq, chain);
            if reduction.is_own_closing(known) {
                own_closings.note(reduction.entry, is_spared);
            } else if !is_spared
                && now.keeps_from_writing(reduction, known, compartment, &self.order)
            {
                return true;
            }
        }
        matches!(own_closings, OwnClosings::Strike(_))
    }
}

/// What those acts say together by which a user closed a writer of their own. Each names the branches that its author
/// knew, so what one of them spares is spared.
enum OwnClosings {
    None,
    Spare,
    Strike(ControlHash),
}

impl OwnClosings {
    fn note(&mut self, closing: ControlHash, is_spared: bool) {
        match self {
            _ if is_spared => *self = Self::Spare,
            Self::None => *self = Self::Strike(closing),
            Self::Spare | Self::Strike(_) => {}
        }
    }
}
