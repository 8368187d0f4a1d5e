//! Every bound of a session in one place: sizes in bytes, times in milliseconds.
//!
//! Invariant: whatever a peer does, a session holds no more than these bounds allow. Both ends of a link may use
//! different limits; the bounds that concern the format itself are constants, because a frame that one end may write
//! must be one that the other end may read.

/// Version of the session frames spoken by this program.
pub const VERSION: u16 = 1;

/// Greatest length of one frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Greatest length of one data entry, header included, in bytes.
pub const ENTRY_BYTES_MAX: usize = (1 << 20) + 4096;

/// Greatest length of one control entry, in bytes.
pub const CONTROL_ENTRY_BYTES_MAX: usize = 1 << 20;

/// Greatest number of tags in a greeting, padding included.
pub const TAGS_MAX: usize = 4096;

/// Greatest number of compartments of one context spoken of on a link.
pub const COMPARTMENTS_MAX: usize = 16_384;

/// Greatest number of writers in a frontier.
pub const WRITERS_MAX: usize = 65_536;

/// Greatest number of control entries that one context may differ by on a link.
pub const HISTORY_MAX: usize = 120_000;

/// Greatest number of entries, and of runs, in one frame.
pub const ENTRIES_PER_FRAME_MAX: usize = 65_536;

/// Bounds and intervals that each end chooses for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What one read from the store, and so usually one frame of entries, should amount to, in bytes.
    pub batch_bytes: usize,
    /// How much this end takes in before it has applied it, in bytes. Also the most it sends ahead of the peer.
    pub window_bytes: usize,
    /// What one frame of control entries should amount to, in bytes.
    pub control_batch_bytes: usize,
    /// Hello and greeting must be over after this time, in milliseconds.
    pub handshake_ms: u64,
    /// A link on which nothing was sent for this time carries a ping, in milliseconds.
    pub ping_after_ms: u64,
    /// A link on which nothing arrived for this time is given up, in milliseconds.
    pub silence_ms: u64,
    /// How long an entry that came from another link is only announced before it is sent, in milliseconds: most peers
    /// then have it from its author already. Zero sends at once and announces nothing.
    pub relay_delay_ms: u64,
    /// Frames with unknown numbers that are ignored before the session ends.
    pub unknown_frames_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_bytes: 512 << 10,
            window_bytes: 4 << 20,
            control_batch_bytes: 256 << 10,
            handshake_ms: 10_000,
            ping_after_ms: 10_000,
            silence_ms: 25_000,
            relay_delay_ms: 150,
            unknown_frames_max: 1_000,
        }
    }
}
