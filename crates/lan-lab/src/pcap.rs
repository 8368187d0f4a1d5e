//! Reads captures in the classic pcap format, and of each packet as much as it takes to follow a TCP stream.
//!
//! Nothing here trusts its input: a file cut off anywhere is an error, a packet that is not understood is still given whole.

use std::net::{IpAddr, SocketAddr};

/// The capture could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PcapError {
    /// The file does not begin like a capture.
    #[error("read this as a capture in the classic pcap format; record it with tcpdump -w")]
    NotACapture,
    /// The file ends in the middle of a packet, or one was not recorded whole.
    #[error(
        "read packet {number}: it was cut off; finish the capture first and record whole packets (-s 0)"
    )]
    Cut {
        /// From 1, as other programs count.
        number: usize,
    },
}

/// A capture that was read into memory.
#[derive(Debug)]
pub(crate) struct Pcap<'file> {
    pub(crate) link: Link,
    /// Whole packets, from the link layer on.
    pub(crate) packets: Vec<&'file [u8]>,
}

/// What a packet begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Ethernet,
    Ip,
    /// Linux "cooked", as recorded from all interfaces at once; the two versions differ in where the type stands.
    Cooked,
    CookedSecond,
    Unknown,
}

/// What one packet contributes to a TCP stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment<'file> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// The number of the first byte of `payload`.
    pub(crate) sequence: u32,
    /// Whether it opens a stream.
    pub(crate) opens: bool,
    pub(crate) payload: &'file [u8],
}

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// Takes a capture apart into packets.
pub(crate) fn read(file: &[u8]) -> Result<Pcap<'_>, PcapError> {
    let header = file.get(..FILE_HEADER).ok_or(PcapError::NotACapture)?;
    let number: fn([u8; 4]) -> u32 = match header[..4] {
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => u32::from_le_bytes,
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => u32::from_be_bytes,
        _ => return Err(PcapError::NotACapture),
    };
    let number_at = |bytes: &[u8], position: usize| {
        let bytes = bytes.get(position..position + 4)?;
        Some(number(bytes.try_into().ok()?))
    };
    let link = match number_at(header, 20) {
        Some(1) => Link::Ethernet,
        Some(101 | 228 | 229) => Link::Ip,
        Some(113) => Link::Cooked,
        Some(276) => Link::CookedSecond,
        _ => Link::Unknown,
    };
    let mut packets = Vec::new();
    let mut rest = &file[FILE_HEADER..];
    while !rest.is_empty() {
        let cut = PcapError::Cut {
            number: packets.len() + 1,
        };
        let (Some(recorded), Some(original)) = (number_at(rest, 8), number_at(rest, 12)) else {
            return Err(cut);
        };
        let end = PACKET_HEADER.saturating_add(recorded as usize);
        match rest.get(PACKET_HEADER..end) {
            Some(packet) if recorded == original => packets.push(packet),
            _ => return Err(cut),
        }
        rest = &rest[end..];
    }
    Ok(Pcap { link, packets })
}

/// The TCP segment in a packet; `None` if it holds anything else.
pub(crate) fn segment(link: Link, packet: &[u8]) -> Option<Segment<'_>> {
    let packet = match link {
        Link::Ethernet => without_ethernet(packet)?,
        Link::Ip => packet,
        Link::Cooked => packet.get(16..)?,
        Link::CookedSecond => packet.get(20..)?,
        Link::Unknown => return None,
    };
    let (from, to, tcp) = match packet.first()? >> 4 {
        4 => without_ipv4(packet)?,
        6 => without_ipv6(packet)?,
        _ => return None,
    };
    let data_begins = usize::from(tcp.get(12)? >> 4) * 4;
    let opens = tcp.get(13)? & 0x02 != 0;
    let sequence = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    Some(Segment {
        from: SocketAddr::new(from, u16_at(tcp, 0)?),
        to: SocketAddr::new(to, u16_at(tcp, 2)?),
        // The opening itself counts as one byte.
        sequence: sequence.wrapping_add(u32::from(opens)),
        opens,
        payload: tcp.get(data_begins..)?,
    })
}

/// Addresses and TCP segment of an IP packet.
type Parted<'file> = (IpAddr, IpAddr, &'file [u8]);

const TCP: u8 = 6;

fn without_ethernet(packet: &[u8]) -> Option<&[u8]> {
    let mut begin = 12;
    // Tags of virtual networks stand before the type.
    while matches!(u16_at(packet, begin)?, 0x8100 | 0x88a8) {
        begin += 4;
    }
    packet.get(begin + 2..)
}

fn without_ipv4(packet: &[u8]) -> Option<Parted<'_>> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let address = |position: usize| {
        let bytes: [u8; 4] = packet.get(position..position + 4)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let is_fragment = u16_at(packet, 6)? & 0x3fff != 0;
    if *packet.get(9)? != TCP || is_fragment {
        return None;
    }
    // The length is left out for packets that the sender's hardware was to cut up; short ones carry padding behind it.
    let end = match usize::from(u16_at(packet, 2)?) {
        0 => packet.len(),
        end => end.min(packet.len()),
    };
    Some((address(12)?, address(16)?, packet.get(header..end)?))
}

fn without_ipv6(packet: &[u8]) -> Option<Parted<'_>> {
    let address = |position: usize| {
        let bytes: [u8; 16] = packet.get(position..position + 16)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let end = match usize::from(u16_at(packet, 4)?) {
        0 => packet.len(),
        length => (40 + length).min(packet.len()),
    };
    let mut kind = *packet.get(6)?;
    let mut begin = 40;
    // Options for routers and for the receiver stand before the segment.
    while matches!(kind, 0 | 43 | 60) {
        kind = *packet.get(begin)?;
        begin += 8 + usize::from(*packet.get(begin + 1)?) * 8;
    }
    (kind == TCP).then_some(())?;
    Some((address(8)?, address(24)?, packet.get(begin..end)?))
}

fn u16_at(bytes: &[u8], position: usize) -> Option<u16> {
    let bytes = bytes.get(position..position + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod planted {
    //! Captures made by hand.

    use super::*;

    /// A capture of packets that begin with Ethernet.
    pub(crate) fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        file.extend([0; 12]);
        file.extend(1_u32.to_le_bytes());
        for packet in packets {
            let length = (packet.len() as u32).to_le_bytes();
            file.extend([0; 8]);
            file.extend(length);
            file.extend(length);
            file.extend(packet);
        }
        file
    }

    /// A TCP packet from port 1 to port 2 of two hosts of one family; `flags` as on the wire.
    pub(crate) fn tcp(ipv6: bool, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut tcp = vec![0, 1, 0, 2];
        tcp.extend(sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        tcp.extend(payload);
        ip(ipv6, TCP, &tcp)
    }

    /// An IP packet in Ethernet, padded as short ones are.
    pub(crate) fn ip(ipv6: bool, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0xee; 12];
        let length = payload.len() as u16;
        if ipv6 {
            packet.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([kind, 64]);
            packet.extend([0x11; 16]);
            packet.extend([0x22; 16]);
        } else {
            packet.extend([0x08, 0x00, 0x45, 0]);
            packet.extend((length + 20).to_be_bytes());
            packet.extend([0, 0, 0, 0, 64, kind, 0, 0]);
            packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        }
        packet.extend(payload);
        packet.resize(packet.len().max(60), 0);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::planted::{capture, ip, tcp};
    use super::*;

    #[test]
    fn a_segment_is_found_in_both_families_without_its_padding() {
        for (ipv6, from) in [
            (false, "10.0.0.1:1"),
            (true, "[1111:1111:1111:1111:1111:1111:1111:1111]:1"),
        ] {
            let packet = tcp(ipv6, 7, 0, b"x");
            let found = segment(Link::Ethernet, &packet).unwrap();
            assert_eq!(found.from, from.parse().unwrap());
            assert_eq!((found.sequence, found.opens), (7, false));
            assert_eq!(found.payload, b"x");
        }
    }

    #[test]
    fn an_opening_counts_as_one_byte() {
        let packet = tcp(false, u32::MAX, 0x02, b"");
        let found = segment(Link::Ethernet, &packet).unwrap();
        assert_eq!((found.sequence, found.opens), (0, true));
    }

    #[test]
    fn what_is_not_tcp_is_no_segment() {
        assert_eq!(segment(Link::Ethernet, &ip(false, 17, &[0; 40])), None);
        assert_eq!(segment(Link::Unknown, &tcp(false, 7, 0, b"x")), None);
    }

    #[test]
    fn tags_and_other_links_are_looked_through() {
        let packet = tcp(false, 7, 0, b"x");
        let mut tagged = packet[..12].to_vec();
        tagged.extend([0x81, 0, 0, 5]);
        tagged.extend(&packet[12..]);
        assert_eq!(segment(Link::Ethernet, &tagged).unwrap().payload, b"x");
        assert_eq!(segment(Link::Ip, &packet[14..]).unwrap().payload, b"x");
        let cooked = [&[0; 20], &packet[14..]].concat();
        assert_eq!(segment(Link::CookedSecond, &cooked).unwrap().payload, b"x");
        assert_eq!(segment(Link::Cooked, &cooked[4..]).unwrap().payload, b"x");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_or_shorter() {
        let packets = [tcp(false, 1, 0, b"one"), tcp(true, 2, 0, b"two")];
        let file = capture(&packets);
        assert_eq!(read(&file).unwrap().packets, packets);
        for length in 0..file.len() {
            match read(&file[..length]) {
                Ok(pcap) => assert!(pcap.packets.len() < 2, "{length}"),
                Err(PcapError::NotACapture) => assert!(length < FILE_HEADER),
                Err(PcapError::Cut { number }) => assert!((1..=2).contains(&number)),
            }
        }
    }

    #[test]
    fn a_packet_cut_anywhere_is_no_panic() {
        for packet in [tcp(false, 1, 0, b"one"), tcp(true, 2, 0, b"two")] {
            for length in 0..packet.len() {
                for link in [Link::Ethernet, Link::Ip, Link::Cooked, Link::CookedSecond] {
                    let _ = segment(link, &packet[..length]);
                }
            }
        }
    }

    #[test]
    fn a_packet_that_was_not_recorded_whole_is_refused() {
        let mut file = capture(&[tcp(false, 1, 0, b"one")]);
        file[FILE_HEADER + 12] += 1;
        assert_eq!(read(&file).unwrap_err(), PcapError::Cut { number: 1 });
    }

    #[test]
    fn another_format_is_refused() {
        assert_eq!(read(&[0x0a; 100]).unwrap_err(), PcapError::NotACapture);
    }
}
