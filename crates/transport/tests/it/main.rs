//! Links as their users see them.

mod memory;
