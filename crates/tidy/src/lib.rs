//! House rules that fail in the ordinary test run.
