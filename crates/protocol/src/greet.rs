//! How two ends find out which contexts they share without naming any.
//!
//! For every link key it holds, each end sends a tag that only a holder of the same key can recognise, valid for this
//! link, this direction and this role alone. A stranger learns how many tags there are, rounded up, and nothing else.

use aeroedge_ids::{ContextId, InviteKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::event::LinkKind;
use crate::frame::{Channel, Tag};
use crate::limits::TAGS_MAX;

/// Which end of the link this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that opened the link.
    Dialler,
    /// The end that waited for it.
    Acceptor,
}

impl Side {
    /// The peer's side.
    pub const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Dialler => 0,
            Self::Acceptor => 1,
        }
    }
}

/// A secret that lets this end share a context with peers that hold it too.
#[derive(Clone)]
pub enum Credential {
    /// This device is a member.
    Member {
        /// The context.
        context: ContextId,
        /// Link keys of the current epoch and of earlier ones still honoured, newest first.
        link_keys: Vec<[u8; 32]>,
    },
    /// This device holds an invite and wants to become a member.
    Joiner {
        /// The context.
        context: ContextId,
        /// Derived from the invite's link.
        link_key: [u8; 32],
    },
    /// An open invite of a context of which this device is a member.
    Invite {
        /// The context.
        context: ContextId,
        /// The invite.
        invite: InviteKey,
        /// Derived from the invite's link.
        link_key: [u8; 32],
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, context) = match self {
            Self::Member { context, .. } => ("Member", context),
            Self::Joiner { context, .. } => ("Joiner", context),
            Self::Invite { context, .. } => ("Invite", context),
        };
        f.debug_struct(kind)
            .field("context", context)
            .finish_non_exhaustive()
    }
}

/// What a tag's holder is in the context; part of the tag, so that a member's tag cannot serve as a joiner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Member,
    Joiner,
    Host,
}

impl Role {
    const fn counterpart(self) -> Self {
        match self {
            Self::Member => Self::Member,
            Self::Joiner => Self::Host,
            Self::Host => Self::Joiner,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Member => 0,
            Self::Joiner => 1,
            Self::Host => 2,
        }
    }
}

/// What both ends know of the link once the hellos are exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    binding: [u8; 32],
    nonce_dialler: [u8; 32],
    nonce_acceptor: [u8; 32],
}

impl Transcript {
    /// The transcript of a link with this channel binding, seen from one side.
    pub fn new(binding: [u8; 32], side: Side, own_nonce: [u8; 32], peer_nonce: [u8; 32]) -> Self {
        let (nonce_dialler, nonce_acceptor) = match side {
            Side::Dialler => (own_nonce, peer_nonce),
            Side::Acceptor => (peer_nonce, own_nonce),
        };
        Self {
            binding,
            nonce_dialler,
            nonce_acceptor,
        }
    }

    pub(crate) fn tag(&self, link_key: &[u8; 32], side: Side, role: Role) -> Tag {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(link_key)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(b"aeroedge greet v1");
        mac.update(&self.binding);
        mac.update(&self.nonce_dialler);
        mac.update(&self.nonce_acceptor);
        mac.update(&[side.byte(), role.byte()]);
        let mut tag = Tag::default();
        tag.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        tag
    }

    /// What the device on `side` signs to prove itself in a context.
    pub fn proof_message(&self, side: Side, context: ContextId) -> Vec<u8> {
        let mut message = b"aeroedge prove v1".to_vec();
        message.extend_from_slice(&self.binding);
        message.extend_from_slice(&self.nonce_dialler);
        message.extend_from_slice(&self.nonce_acceptor);
        message.push(side.byte());
        message.extend_from_slice(context.as_bytes());
        message
    }

    /// A key that is the same at both ends and different on every link.
    pub fn salt(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"aeroedge salt v1");
        hash.update(self.binding);
        hash.update(self.nonce_dialler);
        hash.update(self.nonce_acceptor);
        hash.finalize().into()
    }
}

/// Answers to a peer's tags, prepared when the own greeting is made.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// The own greeting: rising, padded.
    pub(crate) tags: Vec<Tag>,
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    context: ContextId,
    kind: LinkKind,
    own: Tag,
    expected: Tag,
}

/// A context that both ends hold a key of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) context: ContextId,
    pub(crate) kind: LinkKind,
    /// How this end numbers the context.
    pub(crate) own: Channel,
    /// How the peer may number it: one for each key both ends hold.
    pub(crate) peer: Vec<Channel>,
}

impl Greeting {
    /// The own tags for every credential, among meaningless ones up to a multiple of four. `padding` is random and
    /// never leaves this end.
    pub(crate) fn new(
        transcript: &Transcript,
        side: Side,
        credentials: &[Credential],
        padding: &[u8; 32],
    ) -> Self {
        let mut candidates = Vec::new();
        let mut add = |context, kind, role: Role, link_key: &[u8; 32]| {
            candidates.push(Candidate {
                context,
                kind,
                own: transcript.tag(link_key, side, role),
                expected: transcript.tag(link_key, side.other(), role.counterpart()),
            });
        };
        // Members first: where a context is shared in two ways, both ends must settle on the same one.
        for credential in credentials {
            if let Credential::Member { context, link_keys } = credential {
                for link_key in link_keys {
                    add(*context, LinkKind::Member, Role::Member, link_key);
                }
            }
        }
        for credential in credentials {
            match credential {
                Credential::Member { .. } => {}
                Credential::Joiner { context, link_key } => {
                    add(*context, LinkKind::Joining, Role::Joiner, link_key);
                }
                Credential::Invite {
                    context,
                    invite,
                    link_key,
                } => {
                    add(*context, LinkKind::Hosting(*invite), Role::Host, link_key);
                }
            }
        }
        candidates.truncate(TAGS_MAX);
        let mut tags: Vec<Tag> = candidates.iter().map(|candidate| candidate.own).collect();
        tags.sort_unstable();
        tags.dedup();
        for index in tags.len()..tags.len().next_multiple_of(4).max(4) {
            // A key that nobody else has: these can match nothing and look like all the others.
            let mut label = *padding;
            for (byte, index) in label.iter_mut().zip(index.to_be_bytes()) {
                *byte ^= index;
            }
            tags.push(transcript.tag(&label, side, Role::Member));
        }
        // Tags are as good as random, so sorting them hides which is which.
        tags.sort_unstable();
        Self { tags, candidates }
    }

    /// The contexts shared with a peer that sent these tags.
    pub(crate) fn matches(&self, peer_tags: &[Tag]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        for candidate in &self.candidates {
            let Some(peer) = position(peer_tags, &candidate.expected) else {
                continue;
            };
            let Some(own) = position(&self.tags, &candidate.own) else {
                continue;
            };
            match matches
                .iter_mut()
                .find(|known| known.context == candidate.context)
            {
                None => matches.push(Match {
                    context: candidate.context,
                    kind: candidate.kind,
                    own,
                    peer: vec![peer],
                }),
                Some(known) => known.peer.push(peer),
            }
        }
        matches
    }
}

/// Looks at every tag whatever it finds, so that time tells nothing.
fn position(tags: &[Tag], wanted: &Tag) -> Option<Channel> {
    let mut found = None;
    for (index, tag) in tags.iter().enumerate() {
        let equal: Choice = tag.ct_eq(wanted);
        if bool::from(equal) {
            found = u16::try_from(index).ok().map(Channel);
        }
    }
    found
}
