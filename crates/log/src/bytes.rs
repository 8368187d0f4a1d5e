//! The MessagePack subset that control entries, bodies and secret files use, written and read in one canonical form.
//!
//! A value has exactly one encoding (the shortest), so bytes that decode also encode back to themselves. The reader
//! never trusts a length: it bounds every count by the bytes that are left.

/// The bytes do not hold what this version of the format puts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended early.
    #[error("read past the end of the bytes")]
    Truncated,
    /// There is more input than the value takes.
    #[error("use all bytes: something follows the value")]
    Trailing,
    /// Another type stands where this one is expected.
    #[error("find {0} here")]
    Expected(&'static str),
    /// The value is legal MessagePack and not in its shortest form, or a list is not in order.
    #[error("accept a value that is not in canonical form")]
    NotCanonical,
    /// A count, length or number is beyond what the format allows.
    #[error("accept {0}: it is out of range")]
    OutOfRange(&'static str),
}

/// Appends canonical MessagePack to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn array(&mut self, length: usize) {
        match length {
            0..=15 => self.bytes.push(0x90 | length as u8),
            16..=0xffff => self.marked(0xdc, &(length as u16).to_be_bytes()),
            _ => self.marked(0xdd, &(length as u32).to_be_bytes()),
        }
    }

    pub(crate) fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.bytes.push(value as u8),
            0x80..=0xff => self.marked(0xcc, &[value as u8]),
            0x100..=0xffff => self.marked(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.marked(0xce, &(value as u32).to_be_bytes()),
            _ => self.marked(0xcf, &value.to_be_bytes()),
        }
    }

    pub(crate) fn bin(&mut self, value: &[u8]) {
        match value.len() {
            0..=0xff => self.marked(0xc4, &[value.len() as u8]),
            0x100..=0xffff => self.marked(0xc5, &(value.len() as u16).to_be_bytes()),
            _ => self.marked(0xc6, &(value.len() as u32).to_be_bytes()),
        }
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        match value.len() {
            0..=31 => self.bytes.push(0xa0 | value.len() as u8),
            32..=0xff => self.marked(0xd9, &[value.len() as u8]),
            0x100..=0xffff => self.marked(0xda, &(value.len() as u16).to_be_bytes()),
            _ => self.marked(0xdb, &(value.len() as u32).to_be_bytes()),
        }
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn marked(&mut self, marker: u8, rest: &[u8]) {
        self.bytes.push(marker);
        self.bytes.extend_from_slice(rest);
    }
}

/// Reads canonical MessagePack from a slice without copying.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }

    /// The length of an array. Every element takes at least one byte, so a count beyond the rest is refused at once.
    pub(crate) fn array(&mut self) -> Result<usize, DecodeError> {
        let length = match self.byte()? {
            marker @ 0x90..=0x9f => usize::from(marker & 0x0f),
            0xdc => at_least(self.number(2)?, 16)?,
            0xdd => at_least(self.number(4)?, 0x1_0000)?,
            _ => return Err(DecodeError::Expected("an array")),
        };
        if length > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(length)
    }

    /// An array whose length the format fixes.
    pub(crate) fn array_of(&mut self, length: usize) -> Result<(), DecodeError> {
        if self.array()? == length {
            Ok(())
        } else {
            Err(DecodeError::Expected("an array of another length"))
        }
    }

    /// An array of at most `limit` elements.
    pub(crate) fn array_up_to(
        &mut self,
        limit: usize,
        what: &'static str,
    ) -> Result<usize, DecodeError> {
        let length = self.array()?;
        if length <= limit {
            Ok(length)
        } else {
            Err(DecodeError::OutOfRange(what))
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        match self.byte()? {
            value @ 0..=0x7f => Ok(u64::from(value)),
            0xcc => Ok(at_least(self.number(1)?, 0x80)? as u64),
            0xcd => Ok(at_least(self.number(2)?, 0x100)? as u64),
            0xce => Ok(at_least(self.number(4)?, 0x1_0000)? as u64),
            0xcf => {
                let value = self.number(8)?;
                if value > 0xffff_ffff {
                    Ok(value)
                } else {
                    Err(DecodeError::NotCanonical)
                }
            }
            _ => Err(DecodeError::Expected("an unsigned number")),
        }
    }

    pub(crate) fn uint32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.uint()?).map_err(|_| DecodeError::OutOfRange(what))
    }

    pub(crate) fn uint8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        u8::try_from(self.uint()?).map_err(|_| DecodeError::OutOfRange(what))
    }

    pub(crate) fn bin(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = match self.byte()? {
            0xc4 => self.number(1)? as usize,
            0xc5 => at_least(self.number(2)?, 0x100)?,
            0xc6 => at_least(self.number(4)?, 0x1_0000)?,
            _ => return Err(DecodeError::Expected("binary data")),
        };
        self.take(length)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.bin()?
            .try_into()
            .map_err(|_| DecodeError::Expected("binary data of another length"))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
            0xd9 => at_least(self.number(1)?, 32)?,
            0xda => at_least(self.number(2)?, 0x100)?,
            0xdb => at_least(self.number(4)?, 0x1_0000)?,
            _ => return Err(DecodeError::Expected("text")),
        };
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Expected("valid UTF-8"))
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self, width: usize) -> Result<u64, DecodeError> {
        Ok(self
            .take(width)?
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn at_least(value: u64, minimum: u64) -> Result<usize, DecodeError> {
    if value >= minimum {
        Ok(value as usize)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

/// Whether every element is greater than the one before it: the canonical form of a set.
pub(crate) fn strictly_ascending<T: Ord>(items: &[T]) -> bool {
    items.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_encoding_at_every_width() {
        for value in [
            0,
            0x7f,
            0x80,
            0xff,
            0x100,
            0xffff,
            0x1_0000,
            0xffff_ffff,
            0x1_0000_0000,
            u64::MAX,
        ] {
            let mut writer = Writer::default();
            writer.uint(value);
            let mut reader = Reader::new(&writer.bytes);
            assert_eq!(reader.uint(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
        assert_eq!(
            Reader::new(&[0xcc, 0x7f]).uint(),
            Err(DecodeError::NotCanonical)
        );
        assert_eq!(
            Reader::new(&[0xcf, 0, 0, 0, 0, 1, 0, 0, 0]).uint(),
            Err(DecodeError::NotCanonical)
        );
    }

    #[test]
    fn lengths_have_one_encoding_at_every_width() {
        for length in [0, 31, 32, 255, 256, 0xffff, 0x1_0000] {
            let mut writer = Writer::default();
            writer.bin(&vec![7; length]);
            writer.text(&"a".repeat(length));
            let mut reader = Reader::new(&writer.bytes);
            assert_eq!(reader.bin().map(<[u8]>::len), Ok(length));
            assert_eq!(reader.text().map(str::len), Ok(length));
            assert_eq!(reader.finish(), Ok(()));
        }
        assert_eq!(
            Reader::new(&[0xc5, 0, 1, 9]).bin(),
            Err(DecodeError::NotCanonical)
        );
        assert_eq!(
            Reader::new(&[0xd9, 1, b'a']).text(),
            Err(DecodeError::NotCanonical)
        );
        assert_eq!(
            Reader::new(&[0xdc, 0, 1, 9]).array(),
            Err(DecodeError::NotCanonical)
        );
    }

    #[test]
    fn a_count_beyond_the_input_is_refused_before_anything_is_reserved() {
        assert_eq!(
            Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff]).array(),
            Err(DecodeError::Truncated)
        );
        assert_eq!(
            Reader::new(&[0xc6, 0xff, 0xff, 0xff, 0xff, 1]).bin(),
            Err(DecodeError::Truncated)
        );
    }
}
