//! Where a writer stands when it writes: which heads it names and under which epoch it seals.
//!
//! The two belong together: an epoch counts only if it was current for someone who knew exactly these heads.

use aeroedge_ids::{CompartmentId, ControlHash, Seq, WriterKey};

use super::{Claim, History, Refusal, UnknownChain};
use crate::control::Rights;
use crate::entry::HEADS_MAX;
use crate::keyring::KeyRing;
use crate::keys::EpochKey;

/// What goes into the header of the next entry, and the key that seals it.
#[derive(Debug, Clone)]
pub struct WritingPoint {
    /// The membership heads to name, ascending, at most [`HEADS_MAX`].
    pub heads: Vec<ControlHash>,
    /// The epoch to name.
    pub epoch: ControlHash,
    /// Its key.
    pub key: EpochKey,
    /// What the writer may do.
    pub rights: Rights,
}

/// This device cannot write to a compartment now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotWrite {
    /// The writer is in no history that is here.
    #[error("write: this device is not a member of the context, join it or wait for sync")]
    NotAMember,
    /// Others would refuse it.
    #[error("write: others would refuse it")]
    Refused(#[source] Refusal),
    /// The key of the compartment has not been sealed to this device yet.
    #[error("write: the key of compartment {0} has not arrived, wait for sync with another member")]
    NoKey(CompartmentId),
}

impl History {
    /// Where `writer` stands in `compartment`. It changes only when an entry is inserted or the ring learns a key.
    ///
    /// Normally that is at all heads and in the current epoch. A device that was left out of a concurrent rotation goes
    /// on writing in the last epoch it has, naming heads from before the rotation, until someone seals it the key.
    pub fn writing_point(
        &self,
        ring: &KeyRing,
        writer: WriterKey,
        compartment: CompartmentId,
    ) -> Result<WritingPoint, CannotWrite> {
        let roster = self.roster().ok_or(CannotWrite::NotAMember)?;
        let known = roster.writer(writer).ok_or(CannotWrite::NotAMember)?;
        let given = roster.rights_given_by(known.user);
        let since: Vec<_> = std::iter::once(known.since).chain(given).collect();
        let earlier = roster
            .compartment(compartment)
            .map_or(&[][..], |compartment| &compartment.epochs);
        let candidates = std::iter::once(self.heads_to_name(&since)).chain(
            earlier
                .iter()
                .rev()
                .map(|epoch| self.maximal(&[&since[..], &[*epoch]].concat())),
        );
        for heads in candidates {
            let Ok(roster) = self.roster_at(&heads) else {
                continue;
            };
            let Some(known) = roster.compartment(compartment) else {
                continue;
            };
            let Some(epoch) = known.current_epoch() else {
                continue;
            };
            let claim = Claim {
                writer,
                compartment,
                seq: Seq(u64::MAX),
                epoch,
                heads,
            };
            let author = self
                .may_write(&claim, &UnknownChain)
                .map_err(CannotWrite::Refused)?;
            if let Some(key) = ring.combined_key(&author.epochs) {
                return Ok(WritingPoint {
                    heads: claim.heads,
                    epoch,
                    key,
                    rights: author.rights,
                });
            }
        }
        Err(CannotWrite::NoKey(compartment))
    }

    /// All heads, or when there are more than a header has room for, some that know `since` and the latest others.
    fn heads_to_name(&self, since: &[ControlHash]) -> Vec<ControlHash> {
        let named = self.latest_heads(HEADS_MAX);
        let knows =
            |head: ControlHash, act: ControlHash| head == act || self.order.knows(head, act);
        let mut own: Vec<_> = since
            .iter()
            .filter(|act| !named.iter().any(|head| knows(*head, **act)))
            .filter_map(|act| self.heads.iter().copied().find(|head| knows(*head, *act)))
            .collect();
        own.sort_unstable();
        own.dedup();
        if own.is_empty() {
            return named;
        }
        let others = self.latest_heads(HEADS_MAX - own.len());
        own.extend(others);
        own.sort_unstable();
        own.dedup();
        own
    }

    /// Those of `hashes` that no other of them knows, ascending.
    fn maximal(&self, hashes: &[ControlHash]) -> Vec<ControlHash> {
        let mut maximal: Vec<_> = hashes
            .iter()
            .copied()
            .filter(|hash| !hashes.iter().any(|other| self.order.knows(*other, *hash)))
            .collect();
        maximal.sort_unstable();
        maximal.dedup();
        maximal
    }
}
