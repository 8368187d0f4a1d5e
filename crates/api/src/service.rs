//! What the interface needs from the program behind it.
//!
//! The program answers with the types of this crate; it decides which words of an error a person may see.

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::problem::Failure;
use crate::types::{
    AircraftList, Changed, ConflictList, ContextList, Created, DeviceList, Event, Flight,
    FlightEntry, FlightFilter, FlightPage, FlightTotals, Identity, Invite, InviteList, Join,
    MemberList, NewAircraft, NewContext, NewFlight, NewInvite, NewJoin, NewRights, Paging, Pairing,
    PairingConsent, PairingOffer, PeerList, SyncStatus,
};

/// A use case that is under way.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// The use cases behind the interface.
///
/// Identifiers arrive as the caller wrote them; the implementation reads them and answers [`Failure::NotFound`] for
/// those it does not know.
pub trait Service: Send + Sync + 'static {
    /// Which program, device and person.
    fn identity(&self) -> Answer<'_, Identity>;

    /// Part of the logbook.
    fn flights(&self, filter: FlightFilter, paging: Paging) -> Answer<'_, FlightPage>;
    /// What the flights of a filter add up to.
    fn flight_totals(&self, filter: FlightFilter) -> Answer<'_, FlightTotals>;
    /// One flight.
    fn flight(&self, id: String) -> Answer<'_, Flight>;
    /// Logs a flight.
    fn add_flight(&self, flight: NewFlight) -> Answer<'_, Created>;
    /// Replaces what was logged; only fields that differ are written.
    fn edit_flight(&self, id: String, entry: FlightEntry) -> Answer<'_, Flight>;
    /// Deletes a flight in every context that holds it.
    fn delete_flight(&self, id: String) -> Answer<'_, ()>;

    /// The aircraft of one context, or of all.
    fn aircraft(&self, context: Option<String>) -> Answer<'_, AircraftList>;
    /// Adds an aircraft.
    fn add_aircraft(&self, aircraft: NewAircraft) -> Answer<'_, Created>;

    /// The contexts of this device.
    fn contexts(&self) -> Answer<'_, ContextList>;
    /// Makes a context.
    fn create_context(&self, context: NewContext) -> Answer<'_, Created>;
    /// Makes an invitation to a context.
    fn invite(&self, context: String, invite: NewInvite) -> Answer<'_, Invite>;
    /// Begins to join a context.
    fn join(&self, join: NewJoin) -> Answer<'_, Join>;
    /// How far joining has come.
    fn join_state(&self, context: String) -> Answer<'_, Join>;
    /// Gives up joining.
    fn cancel_join(&self, context: String) -> Answer<'_, ()>;
    /// The members of a context.
    fn members(&self, context: String) -> Answer<'_, MemberList>;
    /// Gives a member another role and other permissions.
    fn set_role(&self, context: String, user: String, rights: NewRights) -> Answer<'_, Changed>;
    /// Shuts a member out.
    fn remove_member(&self, context: String, user: String) -> Answer<'_, Changed>;
    /// Ends the membership of this device's person.
    fn leave(&self, context: String) -> Answer<'_, Changed>;
    /// Makes new keys.
    fn rotate(&self, context: String) -> Answer<'_, Changed>;
    /// The invitations of a context.
    fn invites(&self, context: String) -> Answer<'_, InviteList>;
    /// Withdraws an invitation.
    fn void_invite(&self, context: String, invite: String) -> Answer<'_, Changed>;
    /// Shuts a device out of every context.
    fn revoke_device(&self, device: String) -> Answer<'_, Changed>;
    /// Shows a way in for a second device.
    fn offer_pairing(&self) -> Answer<'_, PairingOffer>;
    /// How far the pairing has come.
    fn pairing(&self) -> Answer<'_, Pairing>;
    /// Lets the new device in.
    fn confirm_pairing(&self, consent: PairingConsent) -> Answer<'_, Pairing>;
    /// Ends the pairing.
    fn end_pairing(&self) -> Answer<'_, ()>;
    /// The devices of all contexts.
    fn devices(&self) -> Answer<'_, DeviceList>;

    /// How this device stands with the others.
    fn sync_status(&self) -> Answer<'_, SyncStatus>;
    /// The devices met so far.
    fn peers(&self) -> Answer<'_, PeerList>;
    /// Looks for changes and peers at once.
    fn sync_now(&self) -> Answer<'_, ()>;
    /// Another process wrote to the database: make it durable and send it.
    fn poke(&self) -> Answer<'_, ()>;
    /// What was edited by several at once.
    fn conflicts(&self) -> Answer<'_, ConflictList>;

    /// What happens from now on.
    fn events(&self) -> BoxStream<'static, Event>;
}
