//! One value of a cell: what SQLite can store, and its one canonical form on the wire.
//!
//! Two equal values have equal bytes, so that "the greater value wins" means the same on every device.

use crate::msgpack::{
    MalformedBytes, read_length, read_unsigned_after, take, take_array, take_byte, write_integer,
    write_length, write_nil,
};

/// MessagePack extension type of TEXT that is not UTF-8.
const FOREIGN_TEXT: u8 = 1;

/// A value as SQLite stores it. TEXT is bytes, because SQLite does not promise UTF-8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL, never NaN: SQLite stores that as NULL.
    Real(f64),
    /// TEXT.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Appends the canonical form.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Null => write_nil(out),
            Self::Integer(value) => write_integer(out, value),
            Self::Real(value) if value.is_nan() => write_nil(out),
            Self::Real(value) => {
                out.push(0xcb);
                out.extend_from_slice(&value.to_bits().to_be_bytes());
            }
            Self::Text(text) => {
                if text.is_ascii() || std::str::from_utf8(text).is_ok() {
                    match text.len() {
                        length @ 0..=31 => out.push(0xa0 | length as u8),
                        length => write_length(out, length, 0xd9),
                    }
                    out.extend_from_slice(text);
                } else {
                    write_foreign_text(out, text);
                }
            }
            Self::Blob(bytes) => {
                write_length(out, bytes.len(), 0xc4);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// Takes one value from the front, refusing every form but the canonical one.
    pub fn read(input: &mut &'a [u8]) -> Result<Self, MalformedBytes> {
        let marker = take_byte(input)?;
        Ok(match marker {
            0xc0 => Self::Null,
            0xa0..=0xbf => read_utf8(input, usize::from(marker & 0x1f))?,
            0xd9..=0xdb => {
                let length = read_length(input, marker, 0xd9, 32)?;
                read_utf8(input, length)?
            }
            0xc4..=0xc6 => {
                let length = read_length(input, marker, 0xc4, 0)?;
                Self::Blob(take(input, length)?)
            }
            0xcb => {
                let value = f64::from_bits(u64::from_be_bytes(take_array(input)?));
                if value.is_nan() {
                    return Err(MalformedBytes::NotCanonical);
                }
                Self::Real(value)
            }
            0xe0..=0xff => Self::Integer(i64::from(marker as i8)),
            0xd0..=0xd3 => Self::Integer(read_negative(input, marker)?),
            0xd4..=0xd8 | 0xc7..=0xc9 => read_foreign_text(input, marker)?,
            _ => {
                let value =
                    read_unsigned_after(input, marker)?.and_then(|value| i64::try_from(value).ok());
                Self::Integer(value.ok_or(MalformedBytes::Unexpected {
                    expected: "a value",
                    found: marker,
                })?)
            }
        })
    }

    /// The canonical form on its own.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }
}

fn read_utf8<'a>(input: &mut &'a [u8], length: usize) -> Result<Value<'a>, MalformedBytes> {
    let text = take(input, length)?;
    if text.is_ascii() || std::str::from_utf8(text).is_ok() {
        Ok(Value::Text(text))
    } else {
        Err(MalformedBytes::NotUtf8)
    }
}

fn read_negative(input: &mut &[u8], marker: u8) -> Result<i64, MalformedBytes> {
    let (value, below) = match marker {
        0xd0 => (i64::from(take_byte(input)? as i8), -32),
        0xd1 => (i64::from(i16::from_be_bytes(take_array(input)?)), -0x80),
        0xd2 => (i64::from(i32::from_be_bytes(take_array(input)?)), -0x8000),
        _ => (i64::from_be_bytes(take_array(input)?), -0x8000_0000),
    };
    if value < below {
        Ok(value)
    } else {
        Err(MalformedBytes::NotCanonical)
    }
}

/// The markers of extensions whose length is 1, 2, 4, 8 or 16, each of which has a marker of its own.
fn fixed_extension(length: usize) -> Option<u8> {
    match length {
        1 => Some(0xd4),
        2 => Some(0xd5),
        4 => Some(0xd6),
        8 => Some(0xd7),
        16 => Some(0xd8),
        _ => None,
    }
}

fn write_foreign_text(out: &mut Vec<u8>, text: &[u8]) {
    match fixed_extension(text.len()) {
        Some(marker) => out.push(marker),
        None => write_length(out, text.len(), 0xc7),
    }
    out.push(FOREIGN_TEXT);
    out.extend_from_slice(text);
}

fn read_foreign_text<'a>(input: &mut &'a [u8], marker: u8) -> Result<Value<'a>, MalformedBytes> {
    let length = if let 0xd4..=0xd8 = marker {
        1 << (marker - 0xd4)
    } else {
        let length = read_length(input, marker, 0xc7, 0)?;
        if fixed_extension(length).is_some() {
            return Err(MalformedBytes::NotCanonical);
        }
        length
    };
    if take_byte(input)? != FOREIGN_TEXT {
        return Err(MalformedBytes::Unexpected {
            expected: "extension 1",
            found: marker,
        });
    }
    let text = take(input, length)?;
    if std::str::from_utf8(text).is_ok() {
        return Err(MalformedBytes::NotCanonical);
    }
    Ok(Value::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Value<'_>) {
        let bytes = value.to_bytes();
        let mut input = bytes.as_slice();
        assert_eq!(Value::read(&mut input), Ok(value));
        assert!(input.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(
                Value::read(&mut &bytes[..cut]),
                Err(MalformedBytes::Truncated)
            );
        }
    }

    #[test]
    fn every_kind_of_value_round_trips() {
        check(Value::Null);
        for border in [
            0_i64,
            32,
            33,
            127,
            128,
            32_768,
            32_769,
            65_536,
            1 << 31,
            (1 << 31) + 1,
            1 << 32,
            i64::MAX,
        ] {
            check(Value::Integer(border));
            check(Value::Integer(-border));
        }
        check(Value::Integer(i64::MIN));
        for real in [0.0, -0.0, 1.5, f64::MAX, f64::INFINITY] {
            check(Value::Real(real));
        }
        for length in [0, 1, 2, 3, 4, 8, 16, 31, 32, 255, 256, 65_536] {
            check(Value::Text(&vec![b'a'; length]));
            check(Value::Blob(&vec![0; length]));
            if length > 0 {
                check(Value::Text(&vec![0xff; length]));
            }
        }
    }

    #[test]
    fn longer_forms_are_refused() {
        for bytes in [
            &[0xd0, 0x05][..],
            &[0xd9, 1, b'a'],
            &[0xcc, 5],
            &[0xc7, 1, 1, 0xff],
            &[0xd4, 1, b'a'],
            &[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(
                Value::read(&mut &bytes[..]),
                Err(MalformedBytes::NotCanonical),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for marker in [0x90, 0x80, 0xc1, 0xc2, 0xca, 0xdc] {
            assert!(matches!(
                Value::read(&mut [marker, 0, 0, 0, 0].as_slice()),
                Err(MalformedBytes::Unexpected { .. })
            ));
        }
    }
}
