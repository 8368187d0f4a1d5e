//! Real drivers: on this machine's loopback, and on hosts of their own whose network is cut and changed.

mod discovery;
mod drivers;
mod in_namespaces;
mod links;
mod probe;
mod strangers;
