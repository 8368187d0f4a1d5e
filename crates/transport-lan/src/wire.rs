//! How frames become encrypted records on a socket, and come back.
//!
//! A record is a 16-bit length and that many bytes of ciphertext; the plaintexts of all records form one stream of
//! items, each a 32-bit head (kind, then 24 bits of length) and a body. Nothing is allocated by an announced length:
//! memory grows with what has arrived.

use std::sync::Arc;

use aeroedge_transport::FRAME_LIMIT;
use snow::StatelessTransportState;

const TAG_LENGTH: usize = 16;
const RECORD_MAX: usize = 65_535;
const PLAIN_MAX: usize = RECORD_MAX - TAG_LENGTH;
const HEAD_LENGTH: usize = 4;
const FAREWELL_MAX: usize = 1024;
/// First allocation for a body that has been announced and has not arrived.
const BODY_START: usize = 64 * 1024;

/// What travels between two drivers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A frame of the caller.
    Frame(Vec<u8>),
    /// A sign of life.
    Beat,
    /// The other side closes the link, and why.
    Farewell(String),
}

/// The other side sent what it must not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("a record does not decrypt: it was damaged or forged on the way")]
    Forged,
    #[error("a frame of {length} bytes exceeds the limit of {FRAME_LIMIT}")]
    TooLarge { length: usize },
    #[error("an item of unknown kind {kind}")]
    UnknownKind { kind: u8 },
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Frame = 0,
    Beat = 1,
    Farewell = 2,
}

/// Turns items into records.
pub(crate) struct Sealer {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    plain: Vec<u8>,
    /// Records ready for the socket; the caller writes and clears it.
    pub(crate) sealed: Vec<u8>,
}

impl Sealer {
    pub(crate) fn new(noise: Arc<StatelessTransportState>) -> Self {
        Self {
            noise,
            nonce: 0,
            plain: Vec::with_capacity(PLAIN_MAX),
            sealed: Vec::new(),
        }
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) {
        self.item(Kind::Frame, frame);
    }

    pub(crate) fn beat(&mut self) {
        self.item(Kind::Beat, &[]);
    }

    pub(crate) fn farewell(&mut self, why: &str) {
        let mut end = why.len().min(FAREWELL_MAX);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        self.item(Kind::Farewell, &why.as_bytes()[..end]);
    }

    /// Seals what is left over in a short record.
    pub(crate) fn finish(&mut self) {
        if !self.plain.is_empty() {
            self.seal();
        }
    }

    fn item(&mut self, kind: Kind, body: &[u8]) {
        let head = u32::from(kind as u8) << 24 | body.len() as u32;
        self.append(&head.to_be_bytes());
        self.append(body);
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PLAIN_MAX - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
            if self.plain.len() == PLAIN_MAX {
                self.seal();
            }
        }
    }

    fn seal(&mut self) {
        let length = self.plain.len() + TAG_LENGTH;
        self.sealed
            .extend_from_slice(&(length as u16).to_be_bytes());
        let start = self.sealed.len();
        self.sealed.resize(start + length, 0);
        self.noise
            .write_message(self.nonce, &self.plain, &mut self.sealed[start..])
            .expect("a record of at most 65,535 bytes can be sealed");
        self.nonce += 1;
        self.plain.clear();
    }
}

/// Turns bytes from a socket into items.
pub(crate) struct Opener {
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    plain: Vec<u8>,
    head: [u8; HEAD_LENGTH],
    head_filled: usize,
    body: Vec<u8>,
}

impl Opener {
    pub(crate) fn new(noise: Arc<StatelessTransportState>) -> Self {
        Self {
            noise,
            nonce: 0,
            plain: vec![0; RECORD_MAX],
            head: [0; HEAD_LENGTH],
            head_filled: 0,
            body: Vec::new(),
        }
    }

    /// Opens the complete records at the front of `bytes`, appends their items, and returns how many bytes they took.
    ///
    /// After an error the stream cannot be used any more; the items before it are good.
    pub(crate) fn open(&mut self, bytes: &[u8], items: &mut Vec<Item>) -> Result<usize, WireError> {
        let mut rest = bytes;
        while let Some((length, after)) = rest.split_first_chunk::<2>()
            && let Some((record, after)) =
                after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        {
            if record.len() < TAG_LENGTH {
                return Err(WireError::Forged);
            }
            let mut plain = std::mem::take(&mut self.plain);
            let opened = self.noise.read_message(self.nonce, record, &mut plain);
            let read = match opened {
                Ok(length) => self.read(&plain[..length], items),
                Err(_) => Err(WireError::Forged),
            };
            self.plain = plain;
            self.nonce += 1;
            rest = after;
            read?;
        }
        Ok(bytes.len() - rest.len())
    }

    fn read(&mut self, mut plain: &[u8], items: &mut Vec<Item>) -> Result<(), WireError> {
        while !plain.is_empty() {
            if self.head_filled < HEAD_LENGTH {
                let (now, later) = plain.split_at(plain.len().min(HEAD_LENGTH - self.head_filled));
                self.head[self.head_filled..][..now.len()].copy_from_slice(now);
                self.head_filled += now.len();
                plain = later;
                if self.head_filled < HEAD_LENGTH {
                    return Ok(());
                }
                self.body.reserve(self.announced()?.1.min(BODY_START));
            }
            let (kind, length) = self.announced()?;
            let (now, later) = plain.split_at(plain.len().min(length - self.body.len()));
            self.body.extend_from_slice(now);
            plain = later;
            if self.body.len() == length {
                let body = std::mem::take(&mut self.body);
                self.head_filled = 0;
                items.push(match kind {
                    Kind::Frame => Item::Frame(body),
                    Kind::Beat => Item::Beat,
                    Kind::Farewell => Item::Farewell(String::from_utf8_lossy(&body).into_owned()),
                });
            }
        }
        Ok(())
    }

    fn announced(&self) -> Result<(Kind, usize), WireError> {
        let [kind, length @ ..] = self.head;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        let (kind, limit) = match kind {
            0 => (Kind::Frame, FRAME_LIMIT),
            1 => (Kind::Beat, 0),
            2 => (Kind::Farewell, FAREWELL_MAX),
            kind => return Err(WireError::UnknownKind { kind }),
        };
        if length > limit {
            return Err(WireError::TooLarge { length });
        }
        Ok((kind, length))
    }
}

#[cfg(test)]
mod tests {
    use aeroedge_transport::Side;
    use rand::{Rng, RngExt};

    use super::*;
    use crate::handshake::shake;
    use crate::instance::InstanceKeys;

    async fn channel() -> (Sealer, Opener) {
        let keys = InstanceKeys::generate().unwrap();
        let (mut near, mut far) = tokio::io::duplex(1024);
        let (near, far) = tokio::join!(
            shake(&mut near, Side::Dialled, &keys),
            shake(&mut far, Side::Accepted, &keys)
        );
        (
            Sealer::new(near.unwrap().noise),
            Opener::new(far.unwrap().noise),
        )
    }

    fn open_all(opener: &mut Opener, bytes: &[u8]) -> Result<Vec<Item>, WireError> {
        let mut items = Vec::new();
        opener.open(bytes, &mut items)?;
        Ok(items)
    }

    #[tokio::test]
    async fn items_survive_any_cut_of_the_stream() {
        let (mut sealer, mut opener) = channel().await;
        let frames: Vec<Vec<u8>> = [0, 1, PLAIN_MAX - 4, PLAIN_MAX, 200_000, 0]
            .iter()
            .map(|&length| vec![7; length])
            .collect();
        for frame in &frames {
            sealer.frame(frame);
        }
        sealer.beat();
        sealer.farewell("bye");
        sealer.finish();
        let (mut pending, mut items) = (Vec::new(), Vec::new());
        let mut rest = &sealer.sealed[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rand::rng().random_range(1..=rest.len().min(9_000)));
            pending.extend_from_slice(now);
            rest = later;
            let taken = opener.open(&pending, &mut items).unwrap();
            pending.drain(..taken);
        }
        let mut expected: Vec<Item> = frames.into_iter().map(Item::Frame).collect();
        expected.extend([Item::Beat, Item::Farewell("bye".into())]);
        assert!(items == expected);
    }

    #[tokio::test]
    async fn oversize_frame_is_refused_by_its_head() {
        let (mut sealer, mut opener) = channel().await;
        sealer.append(&(FRAME_LIMIT as u32 + 1).to_be_bytes());
        sealer.finish();
        let refused = open_all(&mut opener, &sealer.sealed);
        assert_eq!(
            refused,
            Err(WireError::TooLarge {
                length: FRAME_LIMIT + 1
            })
        );
    }

    #[tokio::test]
    async fn unknown_kind_is_refused() {
        let (mut sealer, mut opener) = channel().await;
        sealer.append(&[9, 0, 0, 0]);
        sealer.finish();
        assert_eq!(
            open_all(&mut opener, &sealer.sealed),
            Err(WireError::UnknownKind { kind: 9 })
        );
    }

    #[tokio::test]
    async fn changed_repeated_and_short_records_are_forged() {
        let (mut sealer, mut opener) = channel().await;
        sealer.frame(b"once");
        sealer.finish();
        let record = sealer.sealed.clone();
        for position in 2..record.len() {
            let mut changed = record.clone();
            changed[position] ^= 1;
            let mut opener = Opener::new(Arc::clone(&opener.noise));
            assert_eq!(open_all(&mut opener, &changed), Err(WireError::Forged));
        }
        assert_eq!(
            open_all(&mut opener, &record),
            Ok(vec![Item::Frame(b"once".to_vec())])
        );
        assert_eq!(open_all(&mut opener, &record), Err(WireError::Forged));
        assert_eq!(
            open_all(&mut opener, &[0, 3, 1, 2, 3]),
            Err(WireError::Forged)
        );
    }

    #[tokio::test]
    async fn long_reasons_are_cut_at_a_character() {
        let (mut sealer, mut opener) = channel().await;
        sealer.farewell(&"ü".repeat(FAREWELL_MAX));
        sealer.finish();
        let items = open_all(&mut opener, &sealer.sealed).unwrap();
        assert_eq!(items, [Item::Farewell("ü".repeat(FAREWELL_MAX / 2))]);
    }

    #[tokio::test]
    async fn random_items_of_a_hostile_peer_end_in_an_error_or_nothing() {
        let mut random = rand::rng();
        for _ in 0..500 {
            let (mut sealer, mut opener) = channel().await;
            for _ in 0..random.random_range(1..20) {
                let mut bytes = vec![0; random.random_range(1..300)];
                random.fill_bytes(&mut bytes);
                // Known kinds and small lengths reach further than plain noise.
                bytes[0] %= 4;
                if let Some(length) = bytes.get_mut(1..3) {
                    length.fill(0);
                }
                sealer.append(&bytes);
                sealer.finish();
            }
            let mut items = Vec::new();
            let opened = opener.open(&sealer.sealed, &mut items);
            assert!(matches!(
                opened,
                Ok(_) | Err(WireError::UnknownKind { .. } | WireError::TooLarge { .. })
            ));
            assert!(opener.body.capacity() <= BODY_START);
        }
    }

    #[tokio::test]
    async fn announced_length_costs_no_memory() {
        let (mut sealer, mut opener) = channel().await;
        sealer.append(&(FRAME_LIMIT as u32).to_be_bytes());
        sealer.finish();
        assert_eq!(open_all(&mut opener, &sealer.sealed), Ok(Vec::new()));
        assert!(opener.body.capacity() <= BODY_START);
    }
}
