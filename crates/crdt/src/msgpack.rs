//! The part of MessagePack that changesets use, in its one canonical (shortest) form.
//!
//! A reader takes from the front of a slice, refuses every longer form of the same value, and never allocates.

/// The bytes are not the canonical MessagePack that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedBytes {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// A value of another kind stands where this one was expected.
    #[error("expected {expected}, found the marker {found:#04x}")]
    Unexpected {
        /// What should stand here.
        expected: &'static str,
        /// The marker that stands here.
        found: u8,
    },
    /// A value is written longer than needed, so that equal content could have different bytes.
    #[error("a value is not in its shortest form")]
    NotCanonical,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
}

/// Appends a non-negative integer.
pub fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Appends an integer of either sign.
pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0.. => write_unsigned(out, value as u64),
        -32..0 => out.push(value as u8),
        -0x80..-32 => out.extend_from_slice(&[0xd0, value as u8]),
        -0x8000..-0x80 => {
            out.push(0xd1);
            out.extend_from_slice(&(value as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xd2);
            out.extend_from_slice(&(value as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Appends the head of an array of `count` values.
pub fn write_array(out: &mut Vec<u8>, count: usize) {
    match count {
        0..=15 => out.push(0x90 | count as u8),
        16..=0xffff => {
            out.push(0xdc);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdd);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

/// Appends a string.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length => write_length(out, length, 0xd9),
    }
    out.extend_from_slice(text.as_bytes());
}

/// Appends a byte string.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len(), 0xc4);
    out.extend_from_slice(bytes);
}

/// Appends nothing, the value.
pub fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// Three neighbouring markers announce a length of one, two and four bytes.
pub(crate) fn write_length(out: &mut Vec<u8>, length: usize, first_marker: u8) {
    match length {
        0..=0xff => out.extend_from_slice(&[first_marker, length as u8]),
        0x100..=0xffff => {
            out.push(first_marker + 1);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(first_marker + 2);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

/// Takes the next byte.
pub(crate) fn take_byte(input: &mut &[u8]) -> Result<u8, MalformedBytes> {
    let (&first, rest) = input.split_first().ok_or(MalformedBytes::Truncated)?;
    *input = rest;
    Ok(first)
}

/// Takes the next `length` bytes.
pub(crate) fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], MalformedBytes> {
    let (taken, rest) = input
        .split_at_checked(length)
        .ok_or(MalformedBytes::Truncated)?;
    *input = rest;
    Ok(taken)
}

/// Takes a big-endian number of `N` bytes.
pub(crate) fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], MalformedBytes> {
    let (taken, rest) = input.split_first_chunk().ok_or(MalformedBytes::Truncated)?;
    *input = rest;
    Ok(*taken)
}

/// The length that follows `marker`, one of three neighbours starting at `first_marker`.
pub(crate) fn read_length(
    input: &mut &[u8],
    marker: u8,
    first_marker: u8,
    shortest: usize,
) -> Result<usize, MalformedBytes> {
    let (length, at_least) = match marker.wrapping_sub(first_marker) {
        0 => (take_byte(input)? as usize, shortest),
        1 => (u16::from_be_bytes(take_array(input)?) as usize, 0x100),
        _ => (u32::from_be_bytes(take_array(input)?) as usize, 0x1_0000),
    };
    if length < at_least {
        return Err(MalformedBytes::NotCanonical);
    }
    Ok(length)
}

/// Reads a non-negative integer.
pub fn read_unsigned(input: &mut &[u8]) -> Result<u64, MalformedBytes> {
    let marker = take_byte(input)?;
    read_unsigned_after(input, marker)?.ok_or(MalformedBytes::Unexpected {
        expected: "a number",
        found: marker,
    })
}

/// The non-negative integer that `marker` starts, or none when it starts something else.
pub(crate) fn read_unsigned_after(
    input: &mut &[u8],
    marker: u8,
) -> Result<Option<u64>, MalformedBytes> {
    let (value, at_least) = match marker {
        0..=0x7f => return Ok(Some(u64::from(marker))),
        0xcc => (u64::from(take_byte(input)?), 0x80),
        0xcd => (u64::from(u16::from_be_bytes(take_array(input)?)), 0x100),
        0xce => (u64::from(u32::from_be_bytes(take_array(input)?)), 0x1_0000),
        0xcf => (u64::from_be_bytes(take_array(input)?), 0x1_0000_0000),
        _ => return Ok(None),
    };
    if value < at_least {
        return Err(MalformedBytes::NotCanonical);
    }
    Ok(Some(value))
}

/// Reads the head of an array: the number of values that follow. Do not allocate by it.
pub fn read_array(input: &mut &[u8]) -> Result<usize, MalformedBytes> {
    match take_byte(input)? {
        marker @ 0x90..=0x9f => Ok(usize::from(marker & 0x0f)),
        0xdc => match u16::from_be_bytes(take_array(input)?) {
            0..=15 => Err(MalformedBytes::NotCanonical),
            count => Ok(usize::from(count)),
        },
        0xdd => match u32::from_be_bytes(take_array(input)?) {
            0..=0xffff => Err(MalformedBytes::NotCanonical),
            count => Ok(count as usize),
        },
        found => Err(MalformedBytes::Unexpected {
            expected: "an array",
            found,
        }),
    }
}

/// Reads a string.
pub fn read_text<'a>(input: &mut &'a [u8]) -> Result<&'a str, MalformedBytes> {
    let marker = take_byte(input)?;
    let length = match marker {
        0xa0..=0xbf => usize::from(marker & 0x1f),
        0xd9..=0xdb => read_length(input, marker, 0xd9, 32)?,
        found => {
            return Err(MalformedBytes::Unexpected {
                expected: "a string",
                found,
            });
        }
    };
    std::str::from_utf8(take(input, length)?).map_err(|_| MalformedBytes::NotUtf8)
}

/// Reads a byte string.
pub fn read_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], MalformedBytes> {
    match take_byte(input)? {
        marker @ 0xc4..=0xc6 => {
            let length = read_length(input, marker, 0xc4, 0)?;
            take(input, length)
        }
        found => Err(MalformedBytes::Unexpected {
            expected: "bytes",
            found,
        }),
    }
}

/// Takes nothing, the value, if it stands next.
pub fn read_nil(input: &mut &[u8]) -> bool {
    match input.split_first() {
        Some((0xc0, rest)) => {
            *input = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_shortest_form_and_no_other() {
        for value in [
            0,
            127,
            128,
            255,
            256,
            65_535,
            65_536,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            write_unsigned(&mut bytes, value);
            assert_eq!(read_unsigned(&mut bytes.as_slice()), Ok(value));
        }
        assert_eq!(
            read_unsigned(&mut [0xcc, 0x7f].as_slice()),
            Err(MalformedBytes::NotCanonical)
        );
        assert_eq!(
            read_unsigned(&mut [0xcd, 0x01].as_slice()),
            Err(MalformedBytes::Truncated)
        );
    }

    #[test]
    fn lengths_round_trip_at_every_border() {
        for length in [0, 31, 32, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(length);
            let mut bytes = Vec::new();
            write_text(&mut bytes, &text);
            write_bytes(&mut bytes, text.as_bytes());
            write_array(&mut bytes, length);
            let mut input = bytes.as_slice();
            assert_eq!(read_text(&mut input), Ok(text.as_str()));
            assert_eq!(read_bytes(&mut input), Ok(text.as_bytes()));
            assert_eq!(read_array(&mut input), Ok(length));
            assert!(input.is_empty());
        }
    }
}
