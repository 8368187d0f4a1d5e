//! A LAN in a box: hosts of their own on one bridge, for tests.
//!
//! Everything lives in network namespaces that belong to one [`Lab`]; no interface or route of the machine is touched, so
//! labs may run beside each other. It needs root, Linux and the programs of `scripts/needs`.

mod capture;
mod lab;
mod system;

pub use capture::Capture;
pub use lab::Lab;
pub use system::LabError;
