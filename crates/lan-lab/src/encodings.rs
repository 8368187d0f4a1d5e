//! The shapes in which a piece of text or an identifier may leave a device.
//!
//! Compressed and encrypted bytes are not among them: what a canary must not do is to be readable as it passes.

use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXUPPER};

/// One encoding of a needle, as bytes to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) encoding: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Every shape of `needle`; where two encodings agree, only the first.
pub(crate) fn shapes(needle: &[u8]) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut add = |encoding: &'static str, bytes: Vec<u8>| {
        if !shapes.iter().any(|shape| shape.bytes == bytes) {
            shapes.push(Shape { encoding, bytes });
        }
    };
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();

    add("raw", needle.to_vec());
    add("lower case", needle.to_ascii_lowercase());
    add("upper case", needle.to_ascii_uppercase());
    add("reversed", reversed(needle));
    add("hexadecimal", HEXLOWER.encode(needle).into_bytes());
    add(
        "hexadecimal, upper case",
        HEXUPPER.encode(needle).into_bytes(),
    );
    add("percent", percent(needle));
    for skew in 0..3 {
        add("base64", settled(&BASE64_NOPAD, needle, skew, 6));
        add("base64url", settled(&BASE64URL_NOPAD, needle, skew, 6));
    }
    for skew in 0..5 {
        let upper = settled(&BASE32_NOPAD, needle, skew, 5);
        add("base32, lower case", upper.to_ascii_lowercase());
        add("base32", upper);
    }
    if let Ok(text) = std::str::from_utf8(needle) {
        let units: Vec<u16> = text.encode_utf16().collect();
        add(
            "UTF-16LE",
            units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        );
        add(
            "UTF-16BE",
            units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        );
        if !text.is_ascii() {
            add("JSON escapes", json_escapes(text));
        }
    }
    shapes
}

/// The letters of `encoding`, of `bits` each, that are the same whatever stands before and behind `needle`, when it begins
/// `skew` bytes after a whole group.
fn settled(encoding: &Encoding, needle: &[u8], skew: usize, bits: usize) -> Vec<u8> {
    let mut input = vec![0; skew];
    input.extend_from_slice(needle);
    let letters = encoding.encode(&input).into_bytes();
    let first = (skew * 8).div_ceil(bits);
    let end = input.len() * 8 / bits;
    letters[first..end].to_vec()
}

fn percent(needle: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for byte in needle {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            encoded.push(*byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    encoded
}

fn json_escapes(text: &str) -> Vec<u8> {
    let mut encoded = String::new();
    for letter in text.chars() {
        if letter.is_ascii() {
            encoded.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                encoded.push_str("\\u");
                encoded.push_str(&HEXLOWER.encode(&unit.to_be_bytes()));
            }
        }
    }
    encoded.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of_shapes_in(haystack: &[u8], needle: &[u8]) -> Vec<&'static str> {
        shapes(needle)
            .into_iter()
            .filter(|shape| {
                haystack
                    .windows(shape.bytes.len())
                    .any(|window| window == shape.bytes)
            })
            .map(|shape| shape.encoding)
            .collect()
    }

    #[test]
    fn base64_and_base32_are_found_wherever_the_needle_stands() {
        let needle = b"Grete's secret \xff\xfe~~?";
        for before in 0..15 {
            for after in 0..15 {
                let mut bytes = vec![b'<'; before];
                bytes.extend_from_slice(needle);
                bytes.extend(vec![b'>'; after]);
                let check = |text: String, expected: &str| {
                    let found = names_of_shapes_in(text.as_bytes(), needle);
                    assert_eq!(found, [expected], "{before} before, {after} after");
                };
                check(data_encoding::BASE64.encode(&bytes), "base64");
                check(data_encoding::BASE64URL_NOPAD.encode(&bytes), "base64url");
                check(data_encoding::BASE32.encode(&bytes), "base32");
                check(
                    BASE32_NOPAD.encode(&bytes).to_lowercase(),
                    "base32, lower case",
                );
            }
        }
    }

    #[test]
    fn text_is_found_in_every_writing() {
        let needle = "Zürich Åse";
        let utf16 = |convert: fn(u16) -> [u8; 2]| {
            needle.encode_utf16().flat_map(convert).collect::<Vec<u8>>()
        };
        let check = |haystack: &[u8], expected: &str| {
            assert_eq!(names_of_shapes_in(haystack, needle.as_bytes()), [expected]);
        };
        check(needle.as_bytes(), "raw");
        check(&utf16(u16::to_le_bytes), "UTF-16LE");
        check(&utf16(u16::to_be_bytes), "UTF-16BE");
        check(b"5ac3bc7269636820c3857365", "hexadecimal");
        assert_eq!(
            names_of_shapes_in(b"5ac3bc7269636820c38573", needle.as_bytes()),
            [""; 0]
        );
    }

    #[test]
    fn writings_of_text_are_as_published() {
        let shapes = shapes("Zürich 😀".as_bytes());
        let of = |encoding: &str| {
            let shape = shapes.iter().find(|shape| shape.encoding == encoding);
            String::from_utf8(shape.unwrap().bytes.clone()).unwrap()
        };
        assert_eq!(of("percent"), "Z%C3%BCrich%20%F0%9F%98%80");
        assert_eq!(of("JSON escapes"), "Z\\u00fcrich \\ud83d\\ude00");
        assert_eq!(of("hexadecimal"), "5ac3bc7269636820f09f9880");
        assert_eq!(of("hexadecimal, upper case"), "5AC3BC7269636820F09F9880");
        assert_eq!(of("upper case"), "ZüRICH 😀");
    }

    #[test]
    fn a_needle_has_each_shape_once() {
        let shapes = shapes(b"123456");
        for (number, shape) in shapes.iter().enumerate() {
            assert!(
                !shapes[..number]
                    .iter()
                    .any(|other| other.bytes == shape.bytes),
                "{shape:?}"
            );
        }
    }
}
