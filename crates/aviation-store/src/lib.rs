//! The aviation tables and the only SQL that touches them.
