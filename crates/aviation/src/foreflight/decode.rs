//! From the bytes of a file to text, whatever program saved it last.
//!
//! UTF-8 is borrowed, not copied. A multi-byte character cut off at the very end is dropped rather than taken for a sign
//! of another encoding, so a truncated file reads like its beginning.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How the text of a file was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// UTF-8, as ForeFlight writes it.
    Utf8,
    /// UTF-16, little end first: "Unicode text" of Windows programs.
    Utf16LittleEndian,
    /// UTF-16, big end first.
    Utf16BigEndian,
    /// Windows-1252: CSV of an older spreadsheet program.
    Windows1252,
}

/// Names the format if the bytes are one that is not text.
pub(super) fn binary_format(bytes: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 8] = [
        (b"PK\x03\x04", "a spreadsheet workbook or a zip archive"),
        (b"\xD0\xCF\x11\xE0", "an old spreadsheet workbook"),
        (b"%PDF", "a PDF document"),
        (b"SQLite format 3", "a SQLite database"),
        (b"\x1F\x8B", "a compressed archive"),
        (b"\x89PNG", "a picture"),
        (b"\xFF\xD8\xFF", "a picture"),
        (b"bplist", "a property list"),
    ];
    FORMATS
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, name)| *name)
}

/// Decodes the bytes; never fails, as Windows-1252 gives every byte a meaning.
pub(super) fn decode(bytes: &[u8]) -> (Cow<'_, str>, Encoding) {
    if let Some(rest) = bytes.strip_prefix(b"\xEF\xBB\xBF") {
        return decode_utf8(rest);
    }
    if let Some(rest) = bytes.strip_prefix(b"\xFF\xFE") {
        return (
            decode_utf16(rest, u16::from_le_bytes),
            Encoding::Utf16LittleEndian,
        );
    }
    if let Some(rest) = bytes.strip_prefix(b"\xFE\xFF") {
        return (
            decode_utf16(rest, u16::from_be_bytes),
            Encoding::Utf16BigEndian,
        );
    }
    match zero_bytes(bytes) {
        Zeros::SecondOfPair => (
            decode_utf16(bytes, u16::from_le_bytes),
            Encoding::Utf16LittleEndian,
        ),
        Zeros::FirstOfPair => (
            decode_utf16(bytes, u16::from_be_bytes),
            Encoding::Utf16BigEndian,
        ),
        Zeros::Neither => decode_utf8(bytes),
    }
}

fn decode_utf8(bytes: &[u8]) -> (Cow<'_, str>, Encoding) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.into(), Encoding::Utf8),
        Err(error) => {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            // No length of the error means that the character is only incomplete.
            if error.error_len().is_none() && rest.len() < 4 && !valid.is_empty() {
                return (String::from_utf8_lossy(valid), Encoding::Utf8);
            }
            if mostly_utf8(bytes) {
                return (String::from_utf8_lossy(bytes), Encoding::Utf8);
            }
            let text = bytes
                .iter()
                .map(|byte| windows_1252(*byte))
                .collect::<String>();
            (text.into(), Encoding::Windows1252)
        }
    }
}

/// Whether broken text is UTF-8 with damage rather than another encoding: good sequences outnumber bad ones.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    good > bad
}

enum Zeros {
    FirstOfPair,
    SecondOfPair,
    Neither,
}

/// Text of the Latin alphabet in UTF-16 has a zero in nearly every pair of bytes, always at the same side.
fn zero_bytes(bytes: &[u8]) -> Zeros {
    let sample = &bytes[..bytes.len().min(1024) & !1];
    let pairs = sample.len() / 2;
    let first = sample.chunks(2).filter(|pair| pair[0] == 0).count();
    let second = sample.chunks(2).filter(|pair| pair[1] == 0).count();
    if pairs >= 4 && second * 10 > pairs * 8 && first * 10 < pairs {
        Zeros::SecondOfPair
    } else if pairs >= 4 && first * 10 > pairs * 8 && second * 10 < pairs {
        Zeros::FirstOfPair
    } else {
        Zeros::Neither
    }
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Cow<'_, str> {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect::<String>()
        .into()
}

fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž',
        '\u{8F}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str, encoding: Encoding) {
        let (text, found) = decode(bytes);
        assert_eq!((text.as_ref(), found), (expected, encoding));
    }

    #[test]
    fn a_byte_order_mark_is_not_text() {
        check(b"\xEF\xBB\xBFDate", "Date", Encoding::Utf8);
    }

    #[test]
    fn utf16_is_read_with_and_without_a_mark() {
        for mark in [true, false] {
            let text = "Date,From 37.79°N\n";
            let mut little = if mark { vec![0xFF, 0xFE] } else { vec![] };
            let mut big = if mark { vec![0xFE, 0xFF] } else { vec![] };
            for unit in text.encode_utf16() {
                little.extend(unit.to_le_bytes());
                big.extend(unit.to_be_bytes());
            }
            check(&little, text, Encoding::Utf16LittleEndian);
            check(&big, text, Encoding::Utf16BigEndian);
            little.pop();
            let (cut, _) = decode(&little);
            assert!(text.starts_with(cut.as_ref()));
        }
    }

    #[test]
    fn windows_1252_is_the_last_resort() {
        check(
            b"37.79\xB0N \x93lore\x94",
            "37.79°N “lore”",
            Encoding::Windows1252,
        );
    }

    #[test]
    fn a_character_cut_at_the_end_does_not_change_the_encoding() {
        let bytes = "37.79°".as_bytes();
        check(&bytes[..bytes.len() - 1], "37.79", Encoding::Utf8);
    }

    #[test]
    fn one_damaged_byte_among_good_characters_stays_utf8() {
        check("°°\u{0}".as_bytes(), "°°\u{0}", Encoding::Utf8);
        check(b"\xC2\xB0\xC2\xB0\xFFx", "°°\u{FFFD}x", Encoding::Utf8);
    }
}
