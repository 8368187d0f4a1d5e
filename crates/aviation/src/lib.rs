//! Records and rules of flying, as pure functions.
