//! The sync session: one state machine for a link, without IO.
