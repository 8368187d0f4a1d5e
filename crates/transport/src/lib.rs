//! What moves opaque frames between two devices: the port every driver implements.
