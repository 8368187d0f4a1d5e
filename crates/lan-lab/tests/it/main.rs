//! The lab itself, tried with ordinary programs on its hosts.

mod in_namespaces;
