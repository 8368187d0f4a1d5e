//! Whole nodes on a seeded network, disk and clock, in one thread.
