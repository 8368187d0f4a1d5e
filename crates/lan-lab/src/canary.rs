//! Searches a capture for words that must never leave a device.
//!
//! Every encoding of every word is looked for in each packet as it passed and in each direction of each TCP connection.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use aho_corasick::AhoCorasick;

use crate::encodings::shapes;
use crate::pcap::{self, PcapError, segment};
use crate::streams::streams;

/// A shorter word would turn up in random bytes now and then.
const SHORTEST_NEEDLE: usize = 6;

/// The search could not be made; nothing was shown.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The file is not there or not readable.
    #[error("open the capture")]
    Open(#[from] std::io::Error),
    /// The file is not a whole capture.
    #[error("take the capture apart")]
    Pcap(#[from] PcapError),
    /// The word would be found by chance.
    #[error("search for {name}: choose a word of at least {SHORTEST_NEEDLE} bytes")]
    TooShort {
        /// What the word stands for.
        name: String,
    },
    /// There are more or longer words than one search can take.
    #[error("search for so many words at once; search in several turns")]
    TooMany(#[from] aho_corasick::BuildError),
}

/// What was searched, and what was found.
#[derive(Debug)]
pub struct Searched {
    /// How many packets; a test should make sure that there were some.
    pub packets: usize,
    /// How many bytes of TCP streams; a test should make sure that the traffic it means went through.
    pub stream_bytes: usize,
    /// One for each word, encoding and direction or kind of place.
    pub hits: Vec<Hit>,
}

/// A word that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What the word stands for.
    pub name: String,
    /// How it was encoded.
    pub encoding: &'static str,
    /// Where it stood first.
    pub place: Place,
    /// How often it was found there or in further packets.
    pub times: usize,
}

/// Where in a capture something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a packet.
    Packet {
        /// From 1, as other programs count.
        number: usize,
    },
    /// In what one side of a TCP connection sent.
    Stream {
        /// The sender.
        from: SocketAddr,
        /// The receiver.
        to: SocketAddr,
        /// The bytes before it.
        offset: usize,
    },
}

impl fmt::Display for Hit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            encoding,
            times,
            ..
        } = self;
        write!(
            formatter,
            "{name} ({encoding}) stands {times} times, first "
        )?;
        match self.place {
            Place::Packet { number } => write!(formatter, "in packet {number}"),
            Place::Stream { from, to, offset } => {
                write!(formatter, "{offset} bytes into what {from} sent to {to}")
            }
        }
    }
}

/// Searches the capture in `file` for each of `needles`, a name for the report and the bytes to look for.
pub fn pcap_contains(file: &Path, needles: &[(&str, &[u8])]) -> Result<Searched, SearchError> {
    search(&std::fs::read(file)?, needles)
}

fn search(file: &[u8], needles: &[(&str, &[u8])]) -> Result<Searched, SearchError> {
    let mut patterns = Vec::new();
    let mut meanings = Vec::new();
    for (name, needle) in needles {
        if needle.len() < SHORTEST_NEEDLE {
            return Err(SearchError::TooShort {
                name: (*name).into(),
            });
        }
        for shape in shapes(needle) {
            patterns.push(shape.bytes);
            meanings.push((*name, shape.encoding));
        }
    }
    let searcher = AhoCorasick::new(&patterns)?;
    let find = |haystack: &[u8]| -> Vec<(usize, usize)> {
        let found = searcher.find_overlapping_iter(haystack);
        found
            .map(|found| (found.pattern().as_usize(), found.start()))
            .collect()
    };

    let pcap = pcap::read(file)?;
    let mut report = Report::default();
    for (position, packet) in pcap.packets.iter().enumerate() {
        for (pattern, _) in find(packet) {
            let number = position + 1;
            report.add(meanings[pattern], None, Place::Packet { number });
        }
    }
    let segments = pcap
        .packets
        .iter()
        .filter_map(|packet| segment(pcap.link, packet));
    let mut stream_bytes = 0;
    for stream in streams(segments) {
        let (from, to) = (stream.from, stream.to);
        stream_bytes += stream.bytes.len();
        for (pattern, offset) in find(&stream.bytes) {
            let place = Place::Stream { from, to, offset };
            report.add(meanings[pattern], Some((from, to)), place);
        }
    }
    Ok(Searched {
        packets: pcap.packets.len(),
        stream_bytes,
        hits: report.hits,
    })
}

/// The two ends of a connection in the direction of what was sent.
type Ends = (SocketAddr, SocketAddr);

/// Hits, brought together so that a word in ten thousand packets is one line.
#[derive(Debug, Default)]
struct Report<'needles> {
    hits: Vec<Hit>,
    known: BTreeMap<(&'needles str, &'static str, Option<Ends>), usize>,
}

impl<'needles> Report<'needles> {
    fn add(
        &mut self,
        (name, encoding): (&'needles str, &'static str),
        ends: Option<Ends>,
        place: Place,
    ) {
        let position = *self.known.entry((name, encoding, ends)).or_insert_with(|| {
            self.hits.push(Hit {
                name: name.into(),
                encoding,
                place,
                times: 0,
            });
            self.hits.len() - 1
        });
        self.hits[position].times += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcap::planted::{capture, ip, tcp};

    const NAME: &[u8] = b"Grete Vogel";

    fn hits(packets: &[Vec<u8>]) -> Vec<String> {
        let needles: [(&str, &[u8]); 2] = [("her name", NAME), ("a stranger", b"Nobody At All")];
        let searched = search(&capture(packets), &needles).unwrap();
        assert_eq!(searched.packets, packets.len());
        searched.hits.iter().map(Hit::to_string).collect()
    }

    #[test]
    fn a_clean_capture_gives_no_hit() {
        let noise: Vec<u8> = (0..60_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
        assert_eq!(
            hits(&[tcp(false, 0, 0, &noise), ip(true, 17, &noise)]),
            [""; 0]
        );
        assert_eq!(hits(&[]), [""; 0]);
    }

    #[test]
    fn a_word_outside_tcp_is_found_in_its_packet() {
        let datagram = [b"........port..", NAME].concat();
        let packets = [
            ip(false, 17, b"harmless"),
            ip(false, 17, &datagram),
            ip(true, 58, NAME),
        ];
        assert_eq!(
            hits(&packets),
            ["her name (raw) stands 2 times, first in packet 2"]
        );
    }

    #[test]
    fn a_word_in_two_packets_is_found_in_its_stream() {
        let packets = [
            tcp(false, 100, 0x02, b""),
            tcp(false, 107, 0, b"e Vogel!"),
            tcp(false, 101, 0, b"..Gret"),
        ];
        assert_eq!(
            hits(&packets),
            [
                "her name (raw) stands 1 times, first 2 bytes into what 10.0.0.1:1 sent to 10.0.0.2:2"
            ]
        );
    }

    #[test]
    fn every_encoding_is_found_when_planted() {
        for shape in shapes(NAME) {
            let found = hits(&[ip(false, 17, &shape.bytes)]);
            let expected = format!("her name ({}) ", shape.encoding);
            assert!(
                found.iter().any(|line| line.starts_with(&expected)),
                "{shape:?}: {found:?}"
            );
        }
    }

    #[test]
    fn a_word_that_chance_would_find_is_refused() {
        let refused = search(&capture(&[]), &[("his name", b"Bob")]).unwrap_err();
        assert!(refused.to_string().contains("his name"), "{refused}");
    }

    #[test]
    fn a_broken_capture_is_refused_rather_than_clean() {
        let mut file = capture(&[tcp(false, 1, 0, NAME)]);
        file.pop();
        assert!(matches!(
            search(&file, &[("her name", NAME)]),
            Err(SearchError::Pcap(_))
        ));
    }
}
