//! Turns ordinary SQLite tables into tables that merge.
