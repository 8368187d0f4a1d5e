//! Keeps a UDP port to itself until it is killed, for tests of what happens when that is the port of mDNS.

use std::net::{Ipv4Addr, UdpSocket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args()
        .nth(1)
        .ok_or("usage: hold-port PORT")?
        .parse()?;
    let _held = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    loop {
        std::thread::park();
    }
}
