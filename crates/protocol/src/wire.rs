//! The little of MessagePack that frames use: arrays, unsigned integers, byte strings and nil.
//!
//! Invariant: writing always takes the shortest form; reading accepts only the shortest form, never looks beyond its
//! slice and never allocates by a length it was told.

/// The bytes are not the value that was expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct WireError(pub(crate) &'static str);

/// Appends values to a frame.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn array(&mut self, length: usize) {
        match length {
            0..=15 => self.bytes.push(0x90 | length as u8),
            16..=0xffff => self.tagged(0xdc, &(length as u16).to_be_bytes()),
            _ => self.tagged(0xdd, &(length as u32).to_be_bytes()),
        }
    }

    pub(crate) fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.bytes.push(value as u8),
            0x80..=0xff => self.tagged(0xcc, &[value as u8]),
            0x100..=0xffff => self.tagged(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.tagged(0xce, &(value as u32).to_be_bytes()),
            _ => self.tagged(0xcf, &value.to_be_bytes()),
        }
    }

    pub(crate) fn bin(&mut self, value: &[u8]) {
        self.bin_header(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// Announces a byte string whose parts follow by [`Writer::raw`].
    pub(crate) fn bin_header(&mut self, length: usize) {
        match length {
            0..=0xff => self.tagged(0xc4, &[length as u8]),
            0x100..=0xffff => self.tagged(0xc5, &(length as u16).to_be_bytes()),
            _ => self.tagged(0xc6, &(length as u32).to_be_bytes()),
        }
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn nil(&mut self) {
        self.bytes.push(0xc0);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn tagged(&mut self, tag: u8, rest: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(rest);
    }
}

/// Takes values off the front of a frame.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn array(&mut self) -> Result<usize, WireError> {
        const EXPECTED: WireError = WireError("an array");
        match self.byte(EXPECTED)? {
            tag @ 0x90..=0x9f => Ok(usize::from(tag & 0x0f)),
            0xdc => self.length::<2>(16, EXPECTED),
            0xdd => self.length::<4>(0x1_0000, EXPECTED),
            _ => Err(EXPECTED),
        }
    }

    /// An array of exactly this length.
    pub(crate) fn array_of(&mut self, length: usize) -> Result<(), WireError> {
        if self.array()? == length {
            Ok(())
        } else {
            Err(WireError("an array of another length"))
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, WireError> {
        const EXPECTED: WireError = WireError("an unsigned integer in its shortest form");
        match self.byte(EXPECTED)? {
            value @ 0..=0x7f => Ok(u64::from(value)),
            0xcc => self.number::<1>(0x80, EXPECTED),
            0xcd => self.number::<2>(0x100, EXPECTED),
            0xce => self.number::<4>(0x1_0000, EXPECTED),
            0xcf => self.number::<8>(0x1_0000_0000, EXPECTED),
            _ => Err(EXPECTED),
        }
    }

    pub(crate) fn bin(&mut self) -> Result<&'a [u8], WireError> {
        const EXPECTED: WireError = WireError("a byte string");
        let length = match self.byte(EXPECTED)? {
            0xc4 => self.length::<1>(0, EXPECTED)?,
            0xc5 => self.length::<2>(0x100, EXPECTED)?,
            0xc6 => self.length::<4>(0x1_0000, EXPECTED)?,
            _ => return Err(EXPECTED),
        };
        self.take(length, EXPECTED)
    }

    /// A byte string of exactly this length.
    pub(crate) fn bin_of<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.bin()?
            .try_into()
            .map_err(|_| WireError("a byte string of another length"))
    }

    /// Takes a nil if one is next.
    pub(crate) fn nil(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0xc0, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError("the end of the frame"))
        }
    }

    fn byte(&mut self, expected: WireError) -> Result<u8, WireError> {
        let (&first, rest) = self.rest.split_first().ok_or(expected)?;
        self.rest = rest;
        Ok(first)
    }

    fn take(&mut self, length: usize, expected: WireError) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(expected)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(
        &mut self,
        least: u64,
        expected: WireError,
    ) -> Result<u64, WireError> {
        let mut value = 0;
        for &byte in self.take(N, expected)? {
            value = (value << 8) | u64::from(byte);
        }
        if value >= least {
            Ok(value)
        } else {
            Err(expected)
        }
    }

    fn length<const N: usize>(
        &mut self,
        least: u64,
        expected: WireError,
    ) -> Result<usize, WireError> {
        let value = self.number::<N>(least, expected)?;
        usize::try_from(value).map_err(|_| expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip_in_their_shortest_form() {
        for value in [
            0,
            1,
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
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.uint(), Ok(value));
            assert_eq!(reader.end(), Ok(()));
        }
        assert!(Reader::new(&[0xcc, 0x05]).uint().is_err());
        assert!(Reader::new(&[0xcf, 0, 0, 0, 0, 0, 0, 0, 5]).uint().is_err());
    }

    #[test]
    fn lengths_beyond_the_slice_are_errors() {
        assert!(
            Reader::new(&[0xc6, 0xff, 0xff, 0xff, 0xff, 1])
                .bin()
                .is_err()
        );
        assert!(Reader::new(&[0xc4]).bin().is_err());
        assert!(Reader::new(&[]).array().is_err());
    }

    #[test]
    fn byte_strings_of_every_size_class_round_trip() {
        for length in [0, 1, 0xff, 0x100, 0xffff, 0x1_0000] {
            let value = vec![7; length];
            let mut writer = Writer::default();
            writer.bin(&value);
            let bytes = writer.finish();
            assert_eq!(Reader::new(&bytes).bin(), Ok(&value[..]));
        }
    }
}
