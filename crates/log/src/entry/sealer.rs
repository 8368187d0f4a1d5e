//! Compressing, encrypting and opening entries with buffers that are kept between calls.
//!
//! Sealing is on the path of every local write and opening on that of every received one, so both keep their zstd
//! state. Nothing is decompressed beyond [`PLAINTEXT_MAX`], whatever the ciphertext claims.

use aeroedge_ids::EntryHash;
use rand::CryptoRng;
use zeroize::Zeroizing;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

use super::{
    CIPHERTEXT_MAX, EntryFields, EntryKind, EntryRef, FLAG_COMPRESSED, FLAG_MORE_PARTS, HEADS,
    HEADS_MAX, PLAINTEXT_MAX, SALT, VERSION,
};
use crate::bytes::strictly_ascending;
use crate::keys::EpochKey;
use crate::seal::{self, TAG_LENGTH, derive, sha256};

const COMPRESSION_LEVEL: i32 = 1;
/// Shorter bodies are sealed as they are: compressing the change of one row takes as long as writing the row, and saves some
/// hundred bytes.
const COMPRESSION_MIN: usize = 1024;
const KEY_INFO: &[u8] = b"aeroedge entry v1";

/// An entry ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// Header and ciphertext.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`: what the next entry names as its predecessor.
    pub hash: EntryHash,
}

/// The entry could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The body is longer than [`PLAINTEXT_MAX`].
    #[error("seal {0} bytes in one entry: split the changes into parts")]
    TooLong(usize),
    /// No heads, more than [`HEADS_MAX`], or not ascending.
    #[error("seal an entry that names {0} membership heads: name 1 to 8, in ascending order")]
    Heads(usize),
    /// The compressor has no memory.
    #[error("compress the changes")]
    Compress(#[source] std::io::Error),
}

/// Makes entries.
pub struct Sealer {
    compressor: Compressor<'static>,
    compressed: Vec<u8>,
}

impl Sealer {
    /// A sealer with buffers of its own.
    pub fn new() -> Result<Self, SealError> {
        Ok(Self {
            compressor: Compressor::new(COMPRESSION_LEVEL).map_err(SealError::Compress)?,
            compressed: Vec::new(),
        })
    }

    /// Seals an encoded [`super::Body`] under the key of the epoch that `fields` names.
    pub fn seal(
        &mut self,
        fields: &EntryFields,
        body: &[u8],
        key: &EpochKey,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedEntry, SealError> {
        if body.len() > PLAINTEXT_MAX {
            return Err(SealError::TooLong(body.len()));
        }
        if !(1..=HEADS_MAX).contains(&fields.heads.len()) || !strictly_ascending(&fields.heads) {
            return Err(SealError::Heads(fields.heads.len()));
        }
        let compressed = self.compress(body)?;
        let plaintext = compressed.unwrap_or(body);
        let mut bytes =
            Vec::with_capacity(HEADS + fields.heads.len() * 32 + plaintext.len() + TAG_LENGTH);
        write_header(
            &mut bytes,
            fields,
            compressed.is_some(),
            plaintext.len() + TAG_LENGTH,
            rng,
        );
        let header_length = bytes.len();
        bytes.extend_from_slice(plaintext);
        let (header, message) = bytes.split_at_mut(header_length);
        let tag = seal::seal(&entry_key(key, header), header, message);
        bytes.extend_from_slice(&tag);
        let hash = EntryHash(sha256(&[&bytes]));
        Ok(SealedEntry { bytes, hash })
    }

    /// The body compressed, if that makes it shorter.
    fn compress(&mut self, body: &[u8]) -> Result<Option<&[u8]>, SealError> {
        if body.len() < COMPRESSION_MIN {
            return Ok(None);
        }
        self.compressed.clear();
        self.compressed
            .reserve(zstd_safe::compress_bound(body.len()));
        self.compressor
            .compress_to_buffer(body, &mut self.compressed)
            .map_err(SealError::Compress)?;
        Ok(if self.compressed.len() < body.len() {
            Some(&self.compressed)
        } else {
            None
        })
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

/// The entry could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another key sealed it, or a bit changed.
    #[error("decrypt the entry: it was sealed with another key or has been altered")]
    NotAuthentic,
    /// A checkpoint, which this version cannot read.
    #[error("open a checkpoint: update this program")]
    Checkpoint,
    /// It claims to decompress beyond [`PLAINTEXT_MAX`], or not to what it claims.
    #[error("decompress the entry: it is damaged or larger than 1 MiB")]
    Decompress,
    /// The decompressor has no memory.
    #[error("prepare the decompressor")]
    Prepare(#[source] std::io::Error),
}

/// Opens entries.
pub struct Opener {
    decompressor: Decompressor<'static>,
    decrypted: Vec<u8>,
    decompressed: Vec<u8>,
}

impl Opener {
    /// An opener with buffers of its own.
    pub fn new() -> Result<Self, OpenError> {
        Ok(Self {
            decompressor: Decompressor::new().map_err(OpenError::Prepare)?,
            decrypted: Vec::new(),
            decompressed: Vec::new(),
        })
    }

    /// The plaintext, for [`super::Body::decode`]; it lives in this opener's buffer until the next call.
    pub fn open(&mut self, entry: &EntryRef<'_>, key: &EpochKey) -> Result<&[u8], OpenError> {
        if entry.kind() == EntryKind::Checkpoint {
            return Err(OpenError::Checkpoint);
        }
        debug_assert!(
            entry.ciphertext().len() <= CIPHERTEXT_MAX,
            "parsing enforces the cap"
        );
        self.decrypted.clear();
        self.decrypted.extend_from_slice(entry.ciphertext());
        let length = seal::open(
            &entry_key(key, entry.header()),
            entry.header(),
            &mut self.decrypted,
        )
        .map_err(|_| OpenError::NotAuthentic)?;
        let decrypted = &self.decrypted[..length];
        if !entry.is_compressed() {
            return Ok(decrypted);
        }
        let claimed = zstd_safe::get_frame_content_size(decrypted)
            .ok()
            .flatten()
            .ok_or(OpenError::Decompress)?;
        if claimed > PLAINTEXT_MAX as u64 {
            return Err(OpenError::Decompress);
        }
        self.decompressed.clear();
        self.decompressed.reserve(claimed as usize);
        let written = self
            .decompressor
            .decompress_to_buffer(decrypted, &mut self.decompressed)
            .map_err(|_| OpenError::Decompress)?;
        if written as u64 == claimed {
            Ok(&self.decompressed)
        } else {
            Err(OpenError::Decompress)
        }
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

fn write_header(
    bytes: &mut Vec<u8>,
    fields: &EntryFields,
    compressed: bool,
    ciphertext_length: usize,
    rng: &mut impl CryptoRng,
) {
    let compressed = if compressed { FLAG_COMPRESSED } else { 0 };
    let more_parts = if fields.more_parts {
        FLAG_MORE_PARTS
    } else {
        0
    };
    bytes.extend_from_slice(&[
        VERSION,
        1,
        compressed | more_parts,
        fields.heads.len() as u8,
    ]);
    bytes.extend_from_slice(&fields.context.0);
    bytes.extend_from_slice(&fields.compartment.0);
    bytes.extend_from_slice(&fields.writer.0);
    bytes.extend_from_slice(&fields.seq.0.to_be_bytes());
    bytes.extend_from_slice(&fields.previous.0);
    bytes.extend_from_slice(&fields.hlc.to_bits().to_be_bytes());
    bytes.extend_from_slice(&fields.epoch.0);
    bytes.extend_from_slice(&fields.schema_version.to_be_bytes());
    debug_assert_eq!(bytes.len(), SALT);
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(&(ciphertext_length as u32).to_be_bytes());
    for head in &fields.heads {
        bytes.extend_from_slice(&head.0);
    }
}

/// The key of one entry: it depends on the salt and on every byte of the header, so it never seals twice.
fn entry_key(key: &EpochKey, header: &[u8]) -> Zeroizing<[u8; 32]> {
    derive(
        key.as_bytes(),
        &header[SALT..SALT + 32],
        &[KEY_INFO, header],
    )
}

#[cfg(test)]
mod tests {
    use aeroedge_crdt::hlc::Hlc;
    use aeroedge_ids::{CompartmentId, ContextId, ControlHash, Seq, WriterKey};
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    /// An entry whose sealed content is not what an honest writer puts there.
    fn sealed_raw(content: &[u8], key: &EpochKey) -> Vec<u8> {
        let fields = EntryFields {
            context: ContextId([1; 16]),
            compartment: CompartmentId([2; 16]),
            writer: WriterKey([3; 32]),
            seq: Seq(1),
            previous: EntryHash([0; 32]),
            hlc: Hlc::from_bits(1),
            epoch: ControlHash([4; 32]),
            schema_version: 1,
            heads: vec![ControlHash([5; 32])],
            more_parts: false,
        };
        let mut bytes = Vec::new();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        write_header(
            &mut bytes,
            &fields,
            true,
            content.len() + TAG_LENGTH,
            &mut rng,
        );
        let header_length = bytes.len();
        bytes.extend_from_slice(content);
        let (header, message) = bytes.split_at_mut(header_length);
        let tag = seal::seal(&entry_key(key, header), header, message);
        bytes.extend_from_slice(&tag);
        bytes
    }

    fn open_raw(content: &[u8]) -> Result<usize, OpenError> {
        let key = EpochKey::from_bytes([9; 32]);
        let bytes = sealed_raw(content, &key);
        let mut opener = Opener::new().unwrap();
        // A buffer that has room for more than this entry claims, as in the middle of a sync.
        opener.decompressed.reserve(PLAINTEXT_MAX + 1000);
        opener
            .open(&EntryRef::parse(&bytes).unwrap(), &key)
            .map(<[u8]>::len)
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let compress = |length: usize| zstd::bulk::compress(&vec![0; length], 3).unwrap();
        assert_eq!(open_raw(&compress(PLAINTEXT_MAX)).unwrap(), PLAINTEXT_MAX);
        for bomb in [compress(PLAINTEXT_MAX + 1), compress(1 << 26)] {
            assert!(bomb.len() < 10_000);
            assert!(matches!(open_raw(&bomb), Err(OpenError::Decompress)));
        }
    }

    #[test]
    fn what_is_not_one_frame_of_a_stated_size_is_refused() {
        let frame = zstd::bulk::compress(&[7; 500], 3).unwrap();
        let twice = [frame.as_slice(), &frame].concat();
        let followed = [frame.as_slice(), b"more"].concat();
        let mut unsized_frame = Vec::new();
        let mut encoder = zstd::stream::Encoder::new(&mut unsized_frame, 3).unwrap();
        std::io::Write::write_all(&mut encoder, &[7; 500]).unwrap();
        encoder.finish().unwrap();
        for content in [
            b"".as_slice(),
            b"not zstd",
            &frame[..frame.len() - 1],
            &twice,
            &followed,
            &unsized_frame,
        ] {
            assert!(
                matches!(open_raw(content), Err(OpenError::Decompress)),
                "{content:?}"
            );
        }
    }
}
