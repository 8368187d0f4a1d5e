//! The bytes of a state, without a database.
//!
//! ```text
//! state := [1, context, compartment, [log ...], image]             logs by name; the image is the merge engine's
//! log   := [name, seq, hash, marks, [[log number, seq] ...], [[tag, seq] ...]]
//! marks := for every entry from the first: how much later the latest stamp is (LEB128), 8 bytes of its hash
//! ```
//! The two lists of a log say what its writer had seen: of logs in the state, by their place in it, and of entries that no one has.

use aeroedge_crdt::hlc::Hlc;
use aeroedge_crdt::msgpack::{
    MalformedBytes, read_array, read_bytes, read_unsigned, write_array, write_bytes, write_unsigned,
};
use aeroedge_ids::{CompartmentId, ContextId, EntryCheck, EntryHash, Seq, WriterKey};
use aeroedge_log::entry::WriterTag;
use sha2::{Digest, Sha256};

const VERSION: u64 = 1;
const STATE_DOMAIN: &[u8] = b"aeroedge state v1";
const POSITIONS_DOMAIN: &[u8] = b"aeroedge positions v1";

/// What is known of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The latest stamp of its log up to it.
    pub(crate) latest: Hlc,
    pub(crate) check: EntryCheck,
}

/// One log of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogState {
    pub(crate) name: WriterKey,
    /// Its last entry in the state.
    pub(crate) seq: Seq,
    /// The hash of that.
    pub(crate) hash: EntryHash,
    /// One for every entry.
    pub(crate) marks: Vec<Mark>,
    /// What its writer had seen of other logs of the state.
    pub(crate) seen: Vec<(usize, Seq)>,
    /// What it had seen and no one has.
    pub(crate) unmet: Vec<(WriterTag, Seq)>,
}

impl LogState {
    /// Its latest stamp.
    pub(crate) fn latest(&self) -> Hlc {
        self.marks.last().map_or(Hlc::ZERO, |mark| mark.latest)
    }
}

/// A state of a compartment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form<'a> {
    pub(crate) context: ContextId,
    pub(crate) compartment: CompartmentId,
    /// By name.
    pub(crate) logs: Vec<LogState>,
    pub(crate) image: &'a [u8],
}

/// The bytes are not a state of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("its bytes are damaged")]
    Malformed,
    #[error("it has form {0}, which a newer program made")]
    Version(u64),
}

impl From<MalformedBytes> for FormError {
    fn from(_: MalformedBytes) -> Self {
        Self::Malformed
    }
}

/// The hash that names a state.
pub(crate) fn hash_of(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(STATE_DOMAIN);
    hash.update(bytes);
    hash.finalize().into()
}

impl<'a> Form<'a> {
    /// The hash that names the point at which the state was taken.
    pub(crate) fn positions(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(POSITIONS_DOMAIN);
        hash.update(self.compartment.0);
        for log in &self.logs {
            hash.update(log.name.0);
            hash.update(log.seq.0.to_be_bytes());
            hash.update(log.hash.0);
        }
        hash.finalize().into()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.image.len() + 256);
        write_array(&mut out, 5);
        write_unsigned(&mut out, VERSION);
        write_bytes(&mut out, &self.context.0);
        write_bytes(&mut out, &self.compartment.0);
        write_array(&mut out, self.logs.len());
        for log in &self.logs {
            write_array(&mut out, 6);
            write_bytes(&mut out, &log.name.0);
            write_unsigned(&mut out, log.seq.0);
            write_bytes(&mut out, &log.hash.0);
            let mut marks = Vec::with_capacity(log.marks.len() * 12);
            let mut before = Hlc::ZERO;
            for mark in &log.marks {
                put(&mut marks, mark.latest.to_bits() - before.to_bits());
                marks.extend_from_slice(&mark.check.0);
                before = mark.latest;
            }
            write_bytes(&mut out, &marks);
            write_array(&mut out, log.seen.len());
            for (number, seq) in &log.seen {
                write_array(&mut out, 2);
                write_unsigned(&mut out, *number as u64);
                write_unsigned(&mut out, seq.0);
            }
            write_array(&mut out, log.unmet.len());
            for (tag, seq) in &log.unmet {
                write_array(&mut out, 2);
                write_bytes(&mut out, &tag.0);
                write_unsigned(&mut out, seq.0);
            }
        }
        write_bytes(&mut out, self.image);
        out
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, FormError> {
        let mut input = bytes;
        let input = &mut input;
        expect(input, 5)?;
        let version = read_unsigned(input)?;
        if version != VERSION {
            return Err(FormError::Version(version));
        }
        let context = ContextId(fixed(input)?);
        let compartment = CompartmentId(fixed(input)?);
        let mut logs: Vec<LogState> = Vec::new();
        for _ in 0..read_array(input)? {
            logs.push(read_log(input)?);
        }
        let image = read_bytes(input)?;
        let is_sound = input.is_empty()
            && logs.windows(2).all(|pair| pair[0].name < pair[1].name)
            && logs.iter().all(|log| {
                log.seen.iter().all(|(number, _)| {
                    logs.get(*number)
                        .is_some_and(|other| other.name != log.name)
                })
            });
        if !is_sound {
            return Err(FormError::Malformed);
        }
        Ok(Self {
            context,
            compartment,
            logs,
            image,
        })
    }
}

fn read_log(input: &mut &[u8]) -> Result<LogState, FormError> {
    expect(input, 6)?;
    let name = WriterKey(fixed(input)?);
    let seq = Seq(read_unsigned(input)?);
    let hash = EntryHash(fixed(input)?);
    let mut packed = read_bytes(input)?;
    let mut marks = Vec::new();
    let mut latest = 0_u64;
    while !packed.is_empty() {
        latest = take(&mut packed)
            .and_then(|more| latest.checked_add(more))
            .ok_or(FormError::Malformed)?;
        let (check, rest) = packed.split_first_chunk().ok_or(FormError::Malformed)?;
        packed = rest;
        marks.push(Mark {
            latest: Hlc::from_bits(latest),
            check: EntryCheck(*check),
        });
    }
    if marks.len() as u64 != seq.0 || marks.last().is_none_or(|mark| mark.check != hash.check()) {
        return Err(FormError::Malformed);
    }
    let mut seen = Vec::new();
    for _ in 0..read_array(input)? {
        expect(input, 2)?;
        seen.push((read_unsigned(input)? as usize, Seq(read_unsigned(input)?)));
    }
    let mut unmet = Vec::new();
    for _ in 0..read_array(input)? {
        expect(input, 2)?;
        unmet.push((WriterTag(fixed(input)?), Seq(read_unsigned(input)?)));
    }
    Ok(LogState {
        name,
        seq,
        hash,
        marks,
        seen,
        unmet,
    })
}

fn expect(input: &mut &[u8], count: usize) -> Result<(), FormError> {
    if read_array(input)? == count {
        Ok(())
    } else {
        Err(FormError::Malformed)
    }
}

fn fixed<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], FormError> {
    read_bytes(input)?
        .try_into()
        .map_err(|_| FormError::Malformed)
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: u8, seen: Vec<(usize, Seq)>) -> LogState {
        let marks = vec![
            Mark {
                latest: Hlc::from_bits(5),
                check: EntryCheck([1; 8]),
            },
            Mark {
                latest: Hlc::from_bits(u64::MAX / 3),
                check: EntryCheck([name; 8]),
            },
        ];
        LogState {
            name: WriterKey([name; 32]),
            seq: Seq(2),
            hash: EntryHash([name; 32]),
            marks,
            seen,
            unmet: vec![(WriterTag([9; 8]), Seq(4))],
        }
    }

    #[test]
    fn a_state_survives_its_bytes_and_damage_never_panics() {
        let form = Form {
            context: ContextId([1; 16]),
            compartment: CompartmentId([2; 16]),
            logs: vec![log(3, vec![(1, Seq(2))]), log(4, Vec::new())],
            image: &[7; 40],
        };
        let bytes = form.encode();
        assert_eq!(Form::decode(&bytes).unwrap(), form);
        for place in 0..bytes.len() {
            assert!(Form::decode(&bytes[..place]).is_err());
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x41;
            let _ = Form::decode(&damaged);
            assert_ne!(hash_of(&damaged), hash_of(&bytes));
        }
        let newer = [&[0x95, 2][..], &bytes[2..]].concat();
        assert_eq!(Form::decode(&newer), Err(FormError::Version(2)));
    }
}
