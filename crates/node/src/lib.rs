//! A running device: drives the protocol over every transport.
