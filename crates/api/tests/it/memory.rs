//! A service that keeps everything in memory: enough to hold the interface to its word.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aeroedge_api::types::{
    Aircraft, AircraftList, Changed, ConflictList, Context, ContextList, Created, Device,
    DeviceList, Event, Flight, FlightEntry, FlightFilter, FlightPage, FlightTotals, Identity,
    Invite, InviteList, Join, JoinState, Member, MemberList, NewAircraft, NewContext, NewFlight,
    NewInvite, NewJoin, NewRights, Order, Paging, Pairing, PairingConsent, PairingOffer,
    PairingState, Peer, PeerList, PeerState, Role, SyncState, SyncStatus,
};
use aeroedge_api::{Answer, Failure, Service};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::sync::broadcast;

const CONTEXT: &str = "0b5f7a3c9d1e4f60718293a4b5c6d7e8";

pub(crate) struct Memory {
    /// How often somebody said that another process wrote.
    pub(crate) pokes: AtomicU64,
    state: Mutex<State>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct State {
    flights: BTreeMap<String, FlightEntry>,
    aircraft: Vec<Aircraft>,
}

impl Memory {
    pub(crate) fn with_flights(count: i64) -> Self {
        let mut state = State::default();
        let tails = [("N738VU", "C172"), ("N5163K", "PA28")];
        let places = ["KPAO", "KSQL", "KHAF", "KRHV", "KLVK", "KMRY"];
        for number in 0..count {
            let (tail, kind) = tails[number as usize % 2];
            let from = number as usize % places.len();
            let entry = FlightEntry {
                date: jiff::civil::date(2026, 1, 1) + jiff::ToSpan::days(number % 31),
                tail: Some(tail.to_owned()),
                aircraft_type: Some(kind.to_owned()),
                departure: Some(places[from].to_owned()),
                destination: Some(places[(from + number as usize % 3) % places.len()].to_owned()),
                total: 3600 + number % 50 * 60,
                pic: 3600,
                night: number % 4 * 900,
                remarks: (number % 3 == 0)
                    .then(|| "Pattern work, gusty crosswind on 31".to_owned()),
                landings: (number % 3 != 0).then_some(1),
                ..FlightEntry::default()
            };
            state.flights.insert(format!("flight-{number:05}"), entry);
        }
        Self {
            pokes: AtomicU64::new(0),
            state: Mutex::new(state),
            events: broadcast::channel(16).0,
        }
    }

    pub(crate) fn announce(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, filter: &FlightFilter) -> Vec<Flight> {
        self.lock()
            .flights
            .iter()
            .filter(|(_, entry)| filter.tail.is_none() || entry.tail == filter.tail)
            .filter(|(_, entry)| filter.from.is_none_or(|from| entry.date >= from))
            .filter(|(_, entry)| filter.until.is_none_or(|until| entry.date <= until))
            .map(|(id, entry)| stored(id, entry))
            .collect()
    }
}

fn stored(id: &str, entry: &FlightEntry) -> Flight {
    Flight {
        id: id.to_owned(),
        contexts: vec![CONTEXT.to_owned()],
        updated_at: None,
        entry: entry.clone(),
    }
}

fn answer<T: Send + 'static>(result: Result<T, Failure>) -> Answer<'static, T> {
    Box::pin(std::future::ready(result))
}

fn known(context: &str) -> Result<(), Failure> {
    if context == CONTEXT {
        Ok(())
    } else {
        Err(Failure::NotFound(format!("context {context}")))
    }
}

impl Service for Memory {
    fn identity(&self) -> Answer<'_, Identity> {
        answer(Ok(Identity {
            version: "0.1.0".into(),
            device: "d1".repeat(32),
            user: "a1".repeat(16),
            name: Some("Ann Example".into()),
        }))
    }

    fn flights(&self, filter: FlightFilter, paging: Paging) -> Answer<'_, FlightPage> {
        let mut found = self.found(&filter);
        if paging.order == Order::Newest {
            found.reverse();
        }
        let count = found.len() as u64;
        let flights = found
            .into_iter()
            .skip(paging.offset as usize)
            .take(paging.limit as usize)
            .collect();
        answer(Ok(FlightPage {
            count,
            offset: paging.offset,
            flights,
        }))
    }

    fn flight_totals(&self, filter: FlightFilter) -> Answer<'_, FlightTotals> {
        let found = self.found(&filter);
        let mut totals = FlightTotals {
            flights: found.len() as u64,
            ..FlightTotals::default()
        };
        let total = found.iter().map(|flight| flight.entry.total).sum();
        totals.seconds.insert("total".into(), total);
        answer(Ok(totals))
    }

    fn flight(&self, id: String) -> Answer<'_, Flight> {
        let found = self.lock().flights.get(&id).map(|entry| stored(&id, entry));
        answer(found.ok_or_else(|| Failure::NotFound(format!("flight {id}"))))
    }

    fn add_flight(&self, flight: NewFlight) -> Answer<'_, Created> {
        let mut state = self.lock();
        let id = format!("flight-{:05}", state.flights.len());
        state.flights.insert(id.clone(), flight.entry);
        answer(Ok(Created { id }))
    }

    fn edit_flight(&self, id: String, entry: FlightEntry) -> Answer<'_, Flight> {
        let flight = stored(&id, &entry);
        self.lock().flights.insert(id, entry);
        answer(Ok(flight))
    }

    fn delete_flight(&self, id: String) -> Answer<'_, ()> {
        let removed = self.lock().flights.remove(&id);
        answer(
            removed
                .map(|_| ())
                .ok_or_else(|| Failure::NotFound(format!("flight {id}"))),
        )
    }

    fn aircraft(&self, context: Option<String>) -> Answer<'_, AircraftList> {
        let aircraft = self.lock().aircraft.clone();
        answer(
            context
                .map_or(Ok(()), |context| known(&context))
                .map(|()| AircraftList { aircraft }),
        )
    }

    fn add_aircraft(&self, aircraft: NewAircraft) -> Answer<'_, Created> {
        if aircraft.entry.tail.trim().is_empty() {
            return answer(Err(Failure::Invalid(
                "an aircraft needs a tail number".into(),
            )));
        }
        self.lock().aircraft.push(Aircraft {
            id: "aircraft-1".into(),
            context: CONTEXT.into(),
            entry: aircraft.entry,
        });
        answer(Ok(Created {
            id: "aircraft-1".into(),
        }))
    }

    fn contexts(&self) -> Answer<'_, ContextList> {
        let contexts = vec![Context {
            id: CONTEXT.into(),
            name: Some("Hangar 4 Flying Club".into()),
            kind: Some("club".into()),
            role: Some(Role::Owner),
            members: 2,
            devices: 3,
        }];
        answer(Ok(ContextList { contexts }))
    }

    fn create_context(&self, context: NewContext) -> Answer<'_, Created> {
        answer(match context.kind.as_str() {
            "club" => Ok(Created { id: CONTEXT.into() }),
            other => Err(Failure::Invalid(format!(
                "{other} is not a kind of context; use club"
            ))),
        })
    }

    fn invite(&self, context: String, _: NewInvite) -> Answer<'_, Invite> {
        answer(known(&context).map(|()| Invite {
            link: "aeroedge://join?c=0b".into(),
            secret: "plover-anvil-merit-seven".into(),
            expires_at: None,
        }))
    }

    fn join(&self, join: NewJoin) -> Answer<'_, Join> {
        answer(if join.link.starts_with("aeroedge://") {
            Ok(Join {
                context: CONTEXT.into(),
                state: JoinState::Searching,
                detail: "looking".into(),
            })
        } else {
            Err(Failure::Invalid(
                "this is not an invitation link; it begins with aeroedge://join".into(),
            ))
        })
    }

    fn join_state(&self, context: String) -> Answer<'_, Join> {
        answer(known(&context).map(|()| Join {
            context,
            state: JoinState::WrongSecret,
            detail: "the secret does not fit the link; ask for it again".into(),
        }))
    }

    fn cancel_join(&self, context: String) -> Answer<'_, ()> {
        answer(known(&context))
    }

    fn members(&self, context: String) -> Answer<'_, MemberList> {
        let member = Member {
            user: "a1".repeat(16),
            name: Some("Ann Example".into()),
            role: Role::Owner,
            permissions: vec![],
            devices: vec!["d1".repeat(32)],
            own: true,
        };
        answer(known(&context).map(|()| MemberList {
            members: vec![member],
        }))
    }

    fn set_role(&self, context: String, _: String, _: NewRights) -> Answer<'_, Changed> {
        answer(known(&context).map(|()| Changed { changed: 1 }))
    }

    fn remove_member(&self, context: String, _: String) -> Answer<'_, Changed> {
        answer(known(&context).map(|()| Changed { changed: 1 }))
    }

    fn leave(&self, context: String) -> Answer<'_, Changed> {
        answer(known(&context).map(|()| Changed { changed: 1 }))
    }

    fn rotate(&self, context: String) -> Answer<'_, Changed> {
        answer(known(&context).map(|()| Changed { changed: 1 }))
    }

    fn invites(&self, context: String) -> Answer<'_, InviteList> {
        answer(known(&context).map(|()| InviteList::default()))
    }

    fn void_invite(&self, context: String, _: String) -> Answer<'_, Changed> {
        answer(known(&context).map(|()| Changed { changed: 1 }))
    }

    fn revoke_device(&self, _: String) -> Answer<'_, Changed> {
        answer(Ok(Changed { changed: 1 }))
    }

    fn offer_pairing(&self) -> Answer<'_, PairingOffer> {
        answer(Ok(PairingOffer {
            link: "aeroedge://pair?v=1&k=0b".into(),
            expires_at: None,
        }))
    }

    fn pairing(&self) -> Answer<'_, Pairing> {
        answer(Ok(Pairing {
            state: PairingState::Compare,
            digits: Some("012 345".into()),
            detail: None,
        }))
    }

    fn confirm_pairing(&self, consent: PairingConsent) -> Answer<'_, Pairing> {
        answer(if consent.digits == "012 345" {
            Ok(Pairing {
                state: PairingState::Giving,
                digits: None,
                detail: None,
            })
        } else {
            Err(Failure::Forbidden("these are other digits".into()))
        })
    }

    fn end_pairing(&self) -> Answer<'_, ()> {
        answer(Ok(()))
    }

    fn devices(&self) -> Answer<'_, DeviceList> {
        let device = Device {
            key: "d1".repeat(32),
            user: "a1".repeat(16),
            name: Some("Ann Example".into()),
            contexts: vec![CONTEXT.into()],
            own: true,
            revoked: false,
        };
        answer(Ok(DeviceList {
            devices: vec![device],
        }))
    }

    fn sync_status(&self) -> Answer<'_, SyncStatus> {
        answer(Ok(SyncStatus {
            state: SyncState::Synced,
            connected: 1,
            ..SyncStatus::default()
        }))
    }

    fn peers(&self) -> Answer<'_, PeerList> {
        let peer = |key: &str, name: &str, state, in_sync| Peer {
            device: key.repeat(32),
            user: None,
            name: Some(name.to_owned()),
            state,
            transport: Some("lan".into()),
            contexts: vec![CONTEXT.into()],
            in_sync,
            seen_at: Some(jiff::Timestamp::now()),
            synced_at: None,
        };
        let peers = vec![
            peer("d2", "Bob Example", PeerState::Connected, true),
            peer("d3", "Club house tablet", PeerState::Connected, false),
            peer("d4", "Ann Example", PeerState::Disconnected, false),
        ];
        answer(Ok(PeerList { peers }))
    }

    fn sync_now(&self) -> Answer<'_, ()> {
        answer(Ok(()))
    }

    fn poke(&self) -> Answer<'_, ()> {
        self.pokes.fetch_add(1, Ordering::Relaxed);
        answer(Ok(()))
    }

    fn conflicts(&self) -> Answer<'_, ConflictList> {
        answer(Ok(ConflictList::default()))
    }

    fn events(&self) -> BoxStream<'static, Event> {
        stream::unfold(self.events.subscribe(), |mut receiver| async move {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(_)) => Event::Missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((event, receiver))
        })
        .boxed()
    }
}
