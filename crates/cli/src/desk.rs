//! The use cases in the types of the HTTP interface: what commands print and what requests answer.
//!
//! Commands and requests go through the same functions here, so both show the same thing under the same names.

use std::time::{SystemTime, UNIX_EPOCH};

use aeroedge_api::types::{
    Aircraft, AircraftList, Changed, Conflict, ConflictList, ConflictValue, Context, ContextList,
    Created, Device as ApiDevice, DeviceList, Flight, FlightEntry, FlightFilter, FlightPage,
    FlightTotals, Identity, Invite, InviteList, InviteState as ApiInviteState, KnownInvite, Member,
    MemberList, NewAircraft, NewContext, NewFlight, NewInvite, NewRights, Order, Paging, Pairing,
    PairingOffer, PairingState as ApiPairingState, Role as ApiRole,
};
use aeroedge_app::contexts::{
    self, ContextKind, ContextView, DeviceView, InviteState, InviteView, MemberView,
};
use aeroedge_app::explain::Kind;
use aeroedge_app::flights::{self, Deleted, FlightView, Part, Query};
use aeroedge_app::{aircraft, standing};
use aeroedge_device::{Device, PairingState};
use aeroedge_ids::{ContextId, Millis, UserId};
use aeroedge_log::control::Role;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::convert;
use crate::failure::Failure;

/// How long an invitation is good if nobody says otherwise.
const INVITE_LIFETIME_SECONDS: u64 = 7 * 24 * 3600;
/// More conflicts than anybody reads at once.
const CONFLICTS_MAX: usize = 500;

/// A device at work, at one moment.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    pub(crate) device: &'a mut Device,
    pub(crate) now: Millis,
}

/// What this computer's clock says.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(since.as_millis() as u64)
}

impl<'a> Desk<'a> {
    /// A device at this moment.
    pub(crate) fn new(device: &'a mut Device) -> Self {
        Self { device, now: now() }
    }

    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        Ok(Identity {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: self.device.key().to_string(),
            user: self.device.user().to_string(),
            name: contexts::own_name(self.device)?,
        })
    }

    pub(crate) fn flights(
        &self,
        filter: &FlightFilter,
        pilot: Option<UserId>,
        paging: Paging,
    ) -> Result<FlightPage, Failure> {
        let query = self.query(filter, pilot)?;
        let part = Part {
            offset: paging.offset,
            limit: paging.limit,
            oldest_first: paging.order == Order::Oldest,
        };
        let (count, views) = flights::list(self.device, &query, part)?;
        Ok(FlightPage {
            count,
            offset: paging.offset,
            flights: views.into_iter().map(flight_of).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn flight_totals(
        &self,
        filter: &FlightFilter,
        pilot: Option<UserId>,
    ) -> Result<FlightTotals, Failure> {
        let query = self.query(filter, pilot)?;
        Ok(convert::flight_totals(&flights::totals(
            self.device,
            &query,
        )?))
    }

    pub(crate) fn flight(&self, id: &str) -> Result<Flight, Failure> {
        flight_of(flights::get(self.device, id)?)
    }

    pub(crate) fn add_flight(&mut self, new: &NewFlight) -> Result<Created, Failure> {
        let groups = new
            .contexts
            .iter()
            .map(|text| contexts::resolve(self.device, text))
            .collect::<Result<Vec<ContextId>, _>>()?;
        let flight = convert::flight(&new.entry)?;
        let id = flights::add(self.device, &groups, &flight, self.now)?;
        Ok(Created { id })
    }

    pub(crate) fn edit_flight(&mut self, id: &str, entry: &FlightEntry) -> Result<Flight, Failure> {
        let flight = convert::flight(entry)?;
        flight_of(flights::edit(self.device, id, &flight, self.now)?)
    }

    /// Deletes a flight in all of its groups, or in one.
    pub(crate) fn delete_flight(
        &mut self,
        id: &str,
        group: Option<&str>,
    ) -> Result<Deleted, Failure> {
        let group = self.group(group)?;
        Ok(flights::delete(self.device, id, group, self.now)?)
    }

    pub(crate) fn aircraft(&self, context: Option<&str>) -> Result<AircraftList, Failure> {
        let group = self.group(context)?;
        let aircraft = aircraft::list(self.device, group)?
            .into_iter()
            .map(|view| {
                Ok(Aircraft {
                    id: view.id,
                    context: view.context.to_string(),
                    entry: convert::aircraft_entry(&view.aircraft)?,
                })
            })
            .collect::<Result<_, Failure>>()?;
        Ok(AircraftList { aircraft })
    }

    pub(crate) fn add_aircraft(&mut self, new: &NewAircraft) -> Result<Created, Failure> {
        let group = self.group(new.context.as_deref())?;
        let entry = convert::aircraft(&new.entry)?;
        let id = aircraft::add(self.device, group, &entry, self.now)?;
        Ok(Created { id })
    }

    pub(crate) fn contexts(&self) -> Result<ContextList, Failure> {
        let contexts = contexts::list(self.device)?
            .into_iter()
            .map(context_of)
            .collect();
        Ok(ContextList { contexts })
    }

    pub(crate) fn create_context(
        &mut self,
        new: &NewContext,
        home_airport: Option<&str>,
    ) -> Result<Created, Failure> {
        let kind = ContextKind::from_name(&new.kind).ok_or_else(|| {
            Failure::new(
                Kind::Invalid,
                format!("{:?} is not a kind of group", new.kind),
                "take personal, partnership, club or school",
            )
        })?;
        let new = contexts::NewContext {
            name: new.name.clone(),
            kind,
            home_airport: home_airport.map(str::to_owned),
            own_name: None,
        };
        let id = contexts::create(self.device, &new, self.now)?;
        Ok(Created { id: id.to_string() })
    }

    pub(crate) fn invite(&mut self, context: &str, new: &NewInvite) -> Result<Invite, Failure> {
        let lifetime = new.lifetime_seconds.unwrap_or(INVITE_LIFETIME_SECONDS);
        let new = contexts::NewInvite {
            role: role_from(new.role),
            permissions: new.permissions.clone(),
            uses: new.uses,
            lifetime_millis: lifetime.saturating_mul(1000),
            secret: new.secret.clone().map(Zeroizing::new),
        };
        let invite = contexts::invite(self.device, context, &new, self.now)?;
        Ok(Invite {
            link: invite.link,
            secret: invite.secret.to_string(),
            expires_at: instant(invite.expires),
        })
    }

    /// Refuses a link that cannot be joined by this device.
    pub(crate) fn check_link(&self, link: &str) -> Result<(), Failure> {
        contexts::check_link(self.device, link)?;
        Ok(())
    }

    pub(crate) fn members(&self, context: &str) -> Result<MemberList, Failure> {
        let id = contexts::resolve(self.device, context)?;
        let members = contexts::members(self.device, id)?
            .into_iter()
            .map(member_of)
            .collect();
        Ok(MemberList { members })
    }

    pub(crate) fn set_role(
        &mut self,
        context: &str,
        member: &str,
        rights: &NewRights,
    ) -> Result<Changed, Failure> {
        let (context, member) = contexts::resolve_both(self.device, context, member)?;
        let changed = contexts::set_role(
            self.device,
            context,
            member.user,
            role_from(rights.role),
            &rights.permissions,
            self.now,
        )?;
        Ok(changed_if(changed))
    }

    pub(crate) fn remove_member(
        &mut self,
        context: &str,
        member: &str,
    ) -> Result<Changed, Failure> {
        let (context, member) = contexts::resolve_both(self.device, context, member)?;
        let changed = contexts::remove(self.device, context, member.user, self.now)?;
        Ok(changed_if(changed))
    }

    pub(crate) fn leave(&mut self, context: &str) -> Result<Changed, Failure> {
        let context = contexts::resolve(self.device, context)?;
        Ok(changed_if(contexts::leave(self.device, context, self.now)?))
    }

    pub(crate) fn rotate(&mut self, context: &str) -> Result<Changed, Failure> {
        let context = contexts::resolve(self.device, context)?;
        let changed = contexts::rotate(self.device, context, self.now)?;
        Ok(Changed { changed })
    }

    pub(crate) fn invites(&self, context: &str) -> Result<InviteList, Failure> {
        let context = contexts::resolve(self.device, context)?;
        let invites = contexts::invites(self.device, context, self.now)?
            .into_iter()
            .map(invite_of)
            .collect();
        Ok(InviteList { invites })
    }

    pub(crate) fn void_invites(
        &mut self,
        context: &str,
        which: Option<&str>,
    ) -> Result<Changed, Failure> {
        let context = contexts::resolve(self.device, context)?;
        let changed = contexts::void_invites(self.device, context, which, self.now)?;
        Ok(Changed { changed })
    }

    pub(crate) fn revoke_device(&mut self, device: &str) -> Result<Changed, Failure> {
        let key = contexts::resolve_device(self.device, device)?.key;
        let changed = contexts::revoke(self.device, key, self.now)?;
        Ok(Changed { changed })
    }

    pub(crate) fn offer_pairing(&mut self) -> PairingOffer {
        let offer = contexts::offer_pairing(self.device, self.now);
        PairingOffer {
            link: offer.link.to_string(),
            expires_at: instant(offer.expires),
        }
    }

    pub(crate) fn pairing(&self) -> Pairing {
        let (state, digits, detail) = match contexts::pairing_state(self.device, self.now) {
            PairingState::None => (ApiPairingState::None, None, None),
            PairingState::Searching => (ApiPairingState::Searching, None, None),
            PairingState::Compare(digits) => (ApiPairingState::Compare, Some(digits), None),
            PairingState::Giving => (ApiPairingState::Giving, None, None),
            PairingState::Done => (ApiPairingState::Done, None, None),
            PairingState::Failed(why) => (ApiPairingState::Failed, None, Some(why.to_owned())),
        };
        Pairing {
            state,
            digits: digits.map(contexts::shown_digits),
            detail,
        }
    }

    pub(crate) fn confirm_pairing(&mut self, digits: &str) -> Result<Pairing, Failure> {
        contexts::confirm_pairing(self.device, digits, self.now)?;
        Ok(self.pairing())
    }

    pub(crate) fn devices(&self) -> Result<DeviceList, Failure> {
        let devices = contexts::devices(self.device)?
            .into_iter()
            .map(device_of)
            .collect();
        Ok(DeviceList { devices })
    }

    pub(crate) fn conflicts(&mut self) -> Result<ConflictList, Failure> {
        let found = standing::conflicts(self.device, CONFLICTS_MAX)?;
        let side = |side: standing::Side| ConflictValue {
            value: side.value,
            user: side.user.map(|user| user.to_string()),
            name: side.name,
            written_at: side.written_at.and_then(instant),
        };
        Ok(ConflictList {
            count: found.count,
            conflicts: found
                .conflicts
                .into_iter()
                .map(|conflict| Conflict {
                    table: conflict.table,
                    row: conflict.row,
                    column: Some(conflict.column),
                    stands: side(conflict.stands),
                    overruled: conflict.overruled.into_iter().map(side).collect(),
                })
                .collect(),
        })
    }

    pub(crate) fn group(&self, context: Option<&str>) -> Result<Option<ContextId>, Failure> {
        Ok(context
            .map(|text| contexts::resolve(self.device, text))
            .transpose()?)
    }

    fn query(&self, filter: &FlightFilter, pilot: Option<UserId>) -> Result<Query, Failure> {
        Ok(Query {
            context: self.group(filter.context.as_deref())?,
            pilot,
            search: filter.search.clone(),
            tail: filter.tail.clone(),
            from: filter.from,
            until: filter.until,
        })
    }
}

/// An instant as JSON carries it.
pub(crate) fn instant(millis: Millis) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(millis.0).ok()?).ok()
}

fn flight_of(view: FlightView) -> Result<Flight, Failure> {
    Ok(Flight {
        id: view.id,
        contexts: view.contexts.iter().map(ToString::to_string).collect(),
        updated_at: instant(view.updated_at),
        entry: convert::flight_entry(&view.flight)?,
    })
}

fn context_of(view: ContextView) -> Context {
    Context {
        id: view.id.to_string(),
        name: view.name,
        kind: view.kind,
        role: view.role.map(role_to),
        members: view.members,
        devices: view.devices,
    }
}

fn member_of(view: MemberView) -> Member {
    Member {
        user: view.user.to_string(),
        name: view.name,
        role: role_to(view.rights.role),
        permissions: view
            .rights
            .permissions
            .iter()
            .map(|permission| permission.as_str().to_owned())
            .collect(),
        devices: view.devices.iter().map(ToString::to_string).collect(),
        own: view.own,
    }
}

fn device_of(view: DeviceView) -> ApiDevice {
    ApiDevice {
        key: view.key.to_string(),
        user: view.user.to_string(),
        name: view.name,
        contexts: view.contexts.iter().map(ToString::to_string).collect(),
        own: view.own,
        revoked: view.revoked,
    }
}

fn invite_of(view: InviteView) -> KnownInvite {
    KnownInvite {
        key: view.key.to_string(),
        by: view.by.to_string(),
        by_name: view.by_name,
        role: role_to(view.rights.role),
        permissions: view
            .rights
            .permissions
            .iter()
            .map(|permission| permission.as_str().to_owned())
            .collect(),
        expires_at: view.expires.and_then(instant),
        uses: view.uses,
        joined: view.joined,
        state: match view.state {
            InviteState::Open => ApiInviteState::Open,
            InviteState::Void => ApiInviteState::Void,
            InviteState::Expired => ApiInviteState::Expired,
            InviteState::UsedUp => ApiInviteState::UsedUp,
        },
    }
}

fn changed_if(changed: bool) -> Changed {
    Changed {
        changed: u64::from(changed),
    }
}

const fn role_to(role: Role) -> ApiRole {
    match role {
        Role::Owner => ApiRole::Owner,
        Role::Admin => ApiRole::Admin,
        Role::Manager => ApiRole::Manager,
        Role::Member => ApiRole::Member,
        Role::ReadOnly => ApiRole::Readonly,
    }
}

const fn role_from(role: ApiRole) -> Role {
    match role {
        ApiRole::Owner => Role::Owner,
        ApiRole::Admin => Role::Admin,
        ApiRole::Manager => Role::Manager,
        ApiRole::Member => Role::Member,
        ApiRole::Readonly => Role::ReadOnly,
    }
}
