//! Puts the payloads of TCP segments together again, each direction for itself.
//!
//! A word that was cut in two by a packet's end is whole in its stream. Bytes that were never captured part a stream in
//! two, so that nothing is found that was never sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::pcap::Segment;

/// Bytes that one side sent to the other without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// One direction of one connection while its segments come in.
#[derive(Debug, Default)]
struct Direction<'file> {
    /// By the number of the first byte, which goes on counting where the number on the wire begins anew.
    payloads: BTreeMap<i64, &'file [u8]>,
    latest: Option<i64>,
}

/// Puts together what `segments` carry, whatever their order and however often they were sent.
pub(crate) fn streams<'file>(segments: impl Iterator<Item = Segment<'file>>) -> Vec<Stream> {
    let mut open: BTreeMap<(SocketAddr, SocketAddr), Direction<'file>> = BTreeMap::new();
    let mut streams = Vec::new();
    for segment in segments {
        let ends = (segment.from, segment.to);
        if segment.opens {
            // The same two ports may be used again; an opening that was sent twice parts nothing.
            if let Some(before) = open.remove(&ends) {
                streams.extend(before.into_streams(ends));
            }
        }
        open.entry(ends).or_default().add(&segment);
    }
    for (ends, direction) in open {
        streams.extend(direction.into_streams(ends));
    }
    streams
}

impl<'file> Direction<'file> {
    fn add(&mut self, segment: &Segment<'file>) {
        let number = match self.latest {
            None => i64::from(segment.sequence),
            // The nearest number with the same last 32 bits, ahead or behind.
            Some(latest) => latest + i64::from(segment.sequence.wrapping_sub(latest as u32) as i32),
        };
        self.latest = Some(number);
        let known = self.payloads.entry(number).or_default();
        if known.len() < segment.payload.len() {
            *known = segment.payload;
        }
    }

    fn into_streams(self, (from, to): (SocketAddr, SocketAddr)) -> Vec<Stream> {
        let mut streams: Vec<Stream> = Vec::new();
        let mut next = None;
        for (number, payload) in self.payloads {
            let end = number + payload.len() as i64;
            match (next, streams.last_mut()) {
                (Some(next), Some(stream)) if number <= next => {
                    let known = (next - number) as usize;
                    stream.bytes.extend(payload.iter().skip(known));
                }
                _ if payload.is_empty() => continue,
                _ => streams.push(Stream {
                    from,
                    to,
                    bytes: payload.to_vec(),
                }),
            }
            next = Some(next.unwrap_or(end).max(end));
        }
        streams
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: bool = true;

    fn segment(sequence: u32, opens: bool, payload: &[u8]) -> Segment<'_> {
        Segment {
            from: ([10, 0, 0, 1], 1).into(),
            to: ([10, 0, 0, 2], 2).into(),
            sequence,
            opens,
            payload,
        }
    }

    #[track_caller]
    fn check(segments: &[(u32, &str)], expected: &[&str]) {
        let segments = segments
            .iter()
            .map(|(sequence, payload)| segment(*sequence, false, payload.as_bytes()));
        let found = streams(segments);
        let found: Vec<&str> = found
            .iter()
            .map(|stream| std::str::from_utf8(&stream.bytes).unwrap())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn segments_join_in_any_order_and_repetition() {
        check(&[(5, "ab"), (7, "cd"), (9, "ef")], &["abcdef"]);
        check(&[(9, "ef"), (5, "ab"), (7, "cd"), (5, "ab")], &["abcdef"]);
        check(&[(5, "abc"), (6, "bcde"), (6, "b")], &["abcde"]);
        check(&[(5, "a"), (5, "ab"), (5, "")], &["ab"]);
        check(&[(5, ""), (5, "")], &[]);
    }

    #[test]
    fn a_gap_parts_a_stream() {
        check(&[(5, "ab"), (8, "cd")], &["ab", "cd"]);
        check(&[(5, "ab"), (8, ""), (8, "cd")], &["ab", "cd"]);
    }

    #[test]
    fn numbers_may_begin_anew() {
        check(&[(u32::MAX, "ab"), (1, "cd")], &["abcd"]);
        check(&[(1, "cd"), (u32::MAX, "ab")], &["abcd"]);
    }

    #[test]
    fn directions_and_connections_are_kept_apart() {
        let forth = segment(5, false, b"ab");
        let back = Segment {
            from: forth.to,
            to: forth.from,
            ..segment(7, false, b"cd")
        };
        assert_eq!(streams([forth, back].into_iter()).len(), 2);
        let again = segment(7, OPENING, b"");
        let more = segment(7, false, b"ef");
        let found = streams([forth, again, more].into_iter());
        let bytes: Vec<&[u8]> = found.iter().map(|stream| &stream.bytes[..]).collect();
        assert_eq!(bytes, [b"ab", b"ef"]);
    }
}
