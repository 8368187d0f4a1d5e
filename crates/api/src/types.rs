//! What travels as JSON.
//!
//! Names and units are those of the records: durations are whole seconds, meters and distances hundredths, instants
//! RFC 3339 in UTC. Input refuses fields it does not know, so that a misspelt one is not silently lost.

mod contexts;
mod flights;
mod pairing;
mod sync;

pub use contexts::{
    Changed, Context, ContextList, Device, DeviceList, Identity, Invite, InviteList, InviteState,
    Join, JoinState, KnownInvite, Member, MemberList, NewContext, NewInvite, NewJoin, NewRights,
    Role,
};
pub use flights::{
    Aircraft, AircraftEntry, AircraftList, Approach, ApproachConditions, Created, CustomField,
    CustomKind, Flight, FlightEntry, FlightFilter, FlightPage, FlightPerson, FlightSource,
    FlightTotals, NewAircraft, NewFlight, Order, Paging, Who,
};
pub use pairing::{Pairing, PairingConsent, PairingOffer, PairingState};
pub use sync::{
    Conflict, ConflictList, ConflictValue, Event, Peer, PeerList, PeerState, SyncContext,
    SyncState, SyncStatus,
};
