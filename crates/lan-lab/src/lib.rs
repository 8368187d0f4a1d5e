//! A LAN in a box: hosts of their own on one bridge, for tests, and a search of what crosses it.
//!
//! Everything lives in network namespaces that belong to one [`Lab`]; no interface or route of the machine is touched, so
//! labs may run beside each other. It needs root, Linux and the programs of `scripts/needs`; searching a capture with
//! [`pcap_contains`] needs none of them.

mod canary;
mod capture;
mod encodings;
mod faults;
mod lab;
mod pcap;
mod streams;
mod system;

pub use canary::{Hit, Place, SearchError, Searched, pcap_contains};
pub use capture::Capture;
pub use lab::Lab;
pub use pcap::PcapError;
pub use system::LabError;
