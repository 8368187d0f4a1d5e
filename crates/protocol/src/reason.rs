//! Why a session or one context of it ended: typed here, a number on the wire.
//!
//! Invariant: a number never changes its meaning and is never used again; numbers this program does not know survive
//! in `Other`.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal, $sentence:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        pub enum $name {
            $($(#[$variant_doc])* #[error($sentence)] $variant,)*
            /// A reason that only a newer program knows.
            #[error("the peer gave reason {0}, which this program does not know: update it")]
            Other(u16),
        }

        impl $name {
            /// The number on the wire.
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// The reason with this number.
            pub const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

reasons! {
    /// Why a session ended. Reads as one sentence about the link.
    CloseReason {
        /// Ended on purpose.
        Done = 1, "the session was ended on purpose";
        /// The transport lost the link.
        LinkLost = 2, "the link was lost: it is tried again";
        /// The peer speaks another version of these frames.
        UnsupportedVersion = 3, "the two programs speak different versions of the sync protocol: update the older one";
        /// A frame that is not what its number says.
        Malformed = 4, "a frame could not be read: the other program is damaged or not ours";
        /// A frame, entry or list beyond its bound.
        Oversized = 5, "a frame was larger than the protocol allows";
        /// A frame that has no place at this moment, or came twice.
        WrongOrder = 6, "a frame came twice or at the wrong moment";
        /// Nothing arrived for too long.
        Silence = 7, "nothing was heard from the peer for too long: it is tried again";
        /// No context left to speak of.
        NothingInCommon = 8, "the two devices have no context in common";
        /// More data than was granted.
        Flooded = 9, "the peer sent more than it was allowed to";
        /// Data that the receiver proved wrong.
        DataRefused = 10, "the peer sent entries that do not hold: they were not taken";
        /// The local database failed.
        StoreFailed = 11, "the database of one device failed: see that device's log";
        /// Entries that had been sent before.
        Repeated = 12, "entries were sent twice on one link";
        /// A newer link to the same device took over.
        Replaced = 13, "a newer link to the same device took over";
        /// The program is shutting down.
        ShuttingDown = 14, "the other program is shutting down";
        /// Different entries under one number: a new link compares from the start.
        Parted = 15, "the two devices hold different entries under one number: the link is made anew to compare them";
    }
}

reasons! {
    /// Why one context is no longer spoken of on a link. Reads as one sentence about that context.
    EndReason {
        /// Ended on purpose.
        Done = 1, "the context was closed on purpose";
        /// The device is in no membership history that the other holds.
        UnknownDevice = 2, "the device is not a member of this context";
        /// The device, or its person, was removed.
        Revoked = 3, "the device was removed from this context";
        /// The signature does not fit the device key and this link.
        BadProof = 4, "the device could not prove who it is";
        /// A control entry that does not hold.
        ControlRefused = 5, "the membership history that was offered does not hold";
        /// The invite is void, expired or used up.
        InviteOver = 6, "the invite is void, expired or used up: ask for a new one";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for code in 0..=u16::MAX {
            assert_eq!(CloseReason::from_code(code).code(), code);
            assert_eq!(EndReason::from_code(code).code(), code);
        }
        assert_eq!(CloseReason::from_code(7), CloseReason::Silence);
        assert_eq!(EndReason::from_code(3), EndReason::Revoked);
        assert_eq!(CloseReason::from_code(9_999), CloseReason::Other(9_999));
    }
}
