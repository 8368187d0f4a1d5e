//! A LAN in a box: hosts of their own on one bridge, for tests.
