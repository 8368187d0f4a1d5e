//! A node on an installation, with the local network as its way to others, and the use cases behind its HTTP interface.

use std::collections::BTreeSet;
use std::sync::Arc;

use aeroedge_api::types::{
    AircraftList, Changed, ConflictList, ContextList, Created, DeviceList, Event, Flight,
    FlightEntry, FlightFilter, FlightPage, FlightTotals, Identity, Invite, InviteList, Join,
    JoinState, MemberList, NewAircraft, NewContext, NewFlight, NewInvite, NewJoin, NewRights,
    Paging, Pairing, PairingConsent, PairingOffer, Peer, PeerList, PeerState as ApiPeerState,
    SyncContext, SyncState as ApiSyncState, SyncStatus,
};
use aeroedge_api::{Answer, Failure as ApiFailure, Service};
use aeroedge_app::explain::Kind;
use aeroedge_app::{contexts, flights, standing};
use aeroedge_device::{Device, JoinState as DeviceJoinState};
use aeroedge_ids::ContextId;
use aeroedge_log::pairing::PairingLink;
use aeroedge_node::{
    CallError, Config, MergedRows, Node, NodeHandle, Notice, PeerState, PeerStatus, SyncState,
};
use aeroedge_transport_lan::{Interfaces, LanConfig, LanTransport, Port};
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::desk::{Desk, now};
use crate::failure::{Doing, Failure};

/// A running node and the use cases on it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    handle: NodeHandle<Device>,
}

impl Program {
    /// Starts a node that owns the device, and lets it look for others on the local network.
    pub(crate) async fn start(
        mut device: Device,
        lan_port: Option<u16>,
    ) -> Result<(Node<Device>, Self), Failure> {
        contexts::introduce_everywhere(&mut device, now())?;
        // What was merged right before the program ended last time.
        carry_flights(&mut device);
        let ended = contexts::ended(&device);
        let config = Config {
            after_merge: Some(Box::new(after_merge)),
            ..Config::default()
        };
        let node = Node::start(device, config).doing(|| "start the node".into())?;
        let program = Self {
            handle: node.handle(),
        };
        let lan = LanTransport::new(LanConfig {
            port: lan_port.map_or_else(Port::default, port_of),
            interfaces: Interfaces::All,
        });
        if let Err(error) = program.handle.add_transport(lan).await {
            node.stop().await;
            return Err(Failure::new(
                Kind::Failure,
                format!(
                    "cannot listen for other devices: {}",
                    aeroedge_app::explain::with_causes(&error)
                ),
                "choose another port with --lan-port, or leave it away",
            ));
        }
        tokio::spawn(keep_own_flights(
            program.handle.notices(),
            program.clone(),
            ended,
        ));
        Ok((node, program))
    }

    /// Where other devices reach this one.
    pub(crate) fn lan_port(&self) -> Option<u16> {
        self.handle
            .transports()
            .into_iter()
            .find_map(|transport| transport.listening.first().map(std::net::SocketAddr::port))
    }

    /// Runs a use case on the thread of the database; what it wrote is durable when this returns.
    async fn at_desk<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Desk<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.handle
            .with(move |device| act(&mut Desk::new(device)))
            .await
            .map_err(call_failed)?
    }

    /// As [`at_desk`](Self::at_desk), for what reads and writes rows and nothing else: those that wait at the same time share a commit.
    async fn writing<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Desk<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.handle
            .write(move |device| act(&mut Desk::new(device)))
            .await
            .map_err(call_failed)?
    }

    pub(crate) async fn join(&self, new: NewJoin) -> Result<Join, Failure> {
        let link = self
            .at_desk(move |desk| Ok(contexts::start_join(desk.device, &new.link, &new.secret)?))
            .await?;
        self.handle.add_hints(link.hints);
        self.handle
            .sync_now()
            .await
            .doing(|| "look for others".into())?;
        self.join_state(link.context.to_string()).await
    }

    pub(crate) async fn join_state(&self, context: String) -> Result<Join, Failure> {
        self.at_desk(move |desk| {
            let id = read_context(&context)?;
            let state = desk.device.join_state(id);
            if state == DeviceJoinState::Joined {
                contexts::introduce(desk.device, id, None, desk.now)?;
            }
            join_of(id, state)
        })
        .await
    }

    pub(crate) async fn cancel_join(&self, context: String) -> Result<(), Failure> {
        self.at_desk(move |desk| {
            desk.device.cancel_join(read_context(&context)?);
            Ok(())
        })
        .await
    }

    pub(crate) async fn offer_pairing(&self) -> Result<PairingOffer, Failure> {
        let offer = self.at_desk(|desk| Ok(desk.offer_pairing())).await?;
        // The new device may be waiting already.
        self.sync_now().await?;
        Ok(offer)
    }

    /// Begins to be let in by another device of the same person.
    pub(crate) async fn start_pairing(&self, link: PairingLink) -> Result<(), Failure> {
        self.at_desk(move |desk| Ok(contexts::start_pairing(desk.device, link)?))
            .await?;
        self.sync_now().await
    }

    pub(crate) async fn pairing(&self) -> Result<Pairing, Failure> {
        self.at_desk(|desk| Ok(desk.pairing())).await
    }

    pub(crate) async fn confirm_pairing(&self, digits: String) -> Result<Pairing, Failure> {
        self.at_desk(move |desk| desk.confirm_pairing(&digits))
            .await
    }

    pub(crate) async fn end_pairing(&self) -> Result<(), Failure> {
        self.at_desk(|desk| {
            contexts::end_pairing(desk.device);
            Ok(())
        })
        .await
    }

    /// How many groups this device is in.
    pub(crate) async fn count_contexts(&self) -> Result<usize, Failure> {
        self.at_desk(|desk| Ok(desk.device.contexts().len())).await
    }

    pub(crate) async fn sync_status(&self) -> Result<SyncStatus, Failure> {
        let status = self.handle.status();
        let standing = self
            .at_desk(|desk| Ok(standing::counts(desk.device)?))
            .await?;
        let mut notices = status.problems.clone();
        notices.extend(standing.iter().flat_map(|context| context.notices.clone()));
        Ok(SyncStatus {
            state: sync_state(status.state),
            connected: status.connected as u64,
            pending: status.pending,
            received_at: status.received_at.and_then(system_instant),
            synced_at: status.synced_at.and_then(system_instant),
            notices,
            contexts: standing
                .into_iter()
                .map(|context| SyncContext {
                    context: context.id.to_string(),
                    merged: context.merged,
                    waiting: context.waiting,
                    refused: context.refused,
                    quarantined: context.quarantined,
                    conflicts: context.conflicts,
                })
                .collect(),
        })
    }

    pub(crate) async fn peers(&self) -> Result<PeerList, Failure> {
        let known = self
            .at_desk(|desk| Ok(contexts::devices(desk.device)?))
            .await?;
        let peers = self
            .handle
            .peers()
            .into_iter()
            .map(|peer| {
                let owner = known.iter().find(|device| device.key == peer.device);
                peer_of(
                    &peer,
                    owner.map(|device| device.user.to_string()),
                    owner.and_then(|device| device.name.clone()),
                )
            })
            .collect();
        Ok(PeerList { peers })
    }

    pub(crate) async fn sync_now(&self) -> Result<(), Failure> {
        self.handle
            .sync_now()
            .await
            .doing(|| "look for changes and others".into())
    }
}

/// A device that is in two groups carries edits of a flight from one to the other, as ordinary writes.
fn after_merge(device: &mut Device, rows: Vec<MergedRows>) {
    if flights::concerns_flights(rows.iter().flat_map(|rows| &rows.tables)) {
        carry_flights(device);
    }
}

fn carry_flights(device: &mut Device) {
    if let Err(error) = flights::carry_across(device, now()) {
        tracing::warn!(
            error = aeroedge_app::explain::with_causes(&error),
            "edits of a flight were not carried to its other groups"
        );
    }
}

/// Who is put out of a group keeps the own flights of it in the personal logbook.
async fn keep_own_flights(
    mut notices: Receiver<Notice>,
    program: Program,
    mut ended: BTreeSet<ContextId>,
) {
    loop {
        match notices.recv().await {
            Ok(Notice::Membership(_)) | Err(RecvError::Lagged(_)) => {}
            Ok(_) => continue,
            Err(RecvError::Closed) => return,
        }
        let known = ended.clone();
        let kept = program
            .at_desk(move |desk| {
                let now_ended = contexts::ended(desk.device);
                for context in now_ended.difference(&known) {
                    contexts::keep_own(desk.device, *context, desk.now)?;
                }
                Ok(now_ended)
            })
            .await;
        match kept {
            Ok(now_ended) => ended = now_ended,
            Err(error) => tracing::warn!(
                error = error.sentence(),
                "own flights of a group that ended were not kept"
            ),
        }
    }
}

const fn port_of(port: u16) -> Port {
    if port == 0 {
        Port::Any
    } else {
        Port::Exactly(port)
    }
}

fn call_failed(error: CallError) -> Failure {
    Failure::new(
        Kind::Failure,
        error.to_string(),
        "make sure that the disk has room and try again",
    )
}

fn read_context(text: &str) -> Result<ContextId, Failure> {
    text.parse()
        .map_err(|_| Failure::new(Kind::NotFound, format!("there is no context {text}"), ""))
}

fn join_of(context: ContextId, state: DeviceJoinState) -> Result<Join, Failure> {
    let (state, detail) = match state {
        DeviceJoinState::Searching => (
            JoinState::Searching,
            "looking for a device of the group".to_owned(),
        ),
        DeviceJoinState::WrongSecret => (
            JoinState::WrongSecret,
            "the secret does not belong to this link; ask for it again".to_owned(),
        ),
        DeviceJoinState::Refused(reason) => (JoinState::Refused, reason),
        DeviceJoinState::Joined => (JoinState::Joined, String::new()),
        DeviceJoinState::NotStarted => {
            return Err(Failure::new(
                Kind::NotFound,
                format!("nobody is joining the context {context}"),
                "",
            ));
        }
    };
    Ok(Join {
        context: context.to_string(),
        state,
        detail,
    })
}

const fn sync_state(state: SyncState) -> ApiSyncState {
    match state {
        SyncState::Synced => ApiSyncState::Synced,
        SyncState::Syncing => ApiSyncState::Syncing,
        SyncState::LocalOnly => ApiSyncState::LocalOnly,
        SyncState::Offline => ApiSyncState::Offline,
    }
}

fn peer_of(peer: &PeerStatus, user: Option<String>, name: Option<String>) -> Peer {
    Peer {
        device: peer.device.to_string(),
        user,
        name,
        state: match peer.state {
            PeerState::Connected => ApiPeerState::Connected,
            PeerState::Degraded => ApiPeerState::Degraded,
            PeerState::Reconnecting => ApiPeerState::Reconnecting,
            PeerState::Disconnected => ApiPeerState::Disconnected,
        },
        transport: Some(peer.transport.to_owned()),
        contexts: peer.contexts.iter().map(ToString::to_string).collect(),
        in_sync: peer.in_sync,
        seen_at: system_instant(peer.seen_at),
        synced_at: peer.synced_at.and_then(system_instant),
    }
}

fn system_instant(time: std::time::SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

fn event_of(notice: Notice) -> Event {
    match notice {
        Notice::Changed { context, tables } => Event::Changed {
            context: context.map(|context| context.to_string()),
            tables: tables.into_iter().collect(),
        },
        Notice::PeerUp(device) => Event::PeerUp {
            device: device.to_string(),
        },
        Notice::PeerDown(device) => Event::PeerDown {
            device: device.to_string(),
        },
        Notice::Join(context, state) => Event::Join {
            context: context.to_string(),
            state: match state {
                aeroedge_node::JoinState::Searching => JoinState::Searching,
                aeroedge_node::JoinState::WrongSecret => JoinState::WrongSecret,
                aeroedge_node::JoinState::Refused(_) => JoinState::Refused,
                aeroedge_node::JoinState::Joined => JoinState::Joined,
            },
        },
        Notice::Membership(context) => Event::Membership {
            context: context.to_string(),
        },
        Notice::Sync { state, pending } => Event::Sync {
            state: sync_state(state),
            pending,
        },
    }
}

/// Kinds of trouble as the HTTP interface knows them.
fn to_api(failure: Failure) -> ApiFailure {
    let sentence = failure.sentence();
    match failure.kind() {
        Kind::NotFound => ApiFailure::NotFound(failure.missing().to_owned()),
        Kind::Invalid => ApiFailure::Invalid(sentence),
        Kind::Refused => ApiFailure::Forbidden(sentence),
        Kind::Unreachable => ApiFailure::Unavailable(sentence),
        Kind::Failure | Kind::Unreadable => ApiFailure::Internal(sentence),
    }
}

fn answer<'a, T>(outcome: impl Future<Output = Result<T, Failure>> + Send + 'a) -> Answer<'a, T> {
    Box::pin(async move { outcome.await.map_err(to_api) })
}

impl Service for Program {
    fn identity(&self) -> Answer<'_, Identity> {
        answer(self.at_desk(|desk| desk.identity()))
    }

    fn flights(&self, filter: FlightFilter, paging: Paging) -> Answer<'_, FlightPage> {
        answer(self.at_desk(move |desk| desk.flights(&filter, None, paging)))
    }

    fn flight_totals(&self, filter: FlightFilter) -> Answer<'_, FlightTotals> {
        answer(self.at_desk(move |desk| desk.flight_totals(&filter, None)))
    }

    fn flight(&self, id: String) -> Answer<'_, Flight> {
        answer(self.at_desk(move |desk| desk.flight(&id)))
    }

    fn add_flight(&self, flight: NewFlight) -> Answer<'_, Created> {
        answer(self.writing(move |desk| desk.add_flight(&flight)))
    }

    fn edit_flight(&self, id: String, entry: FlightEntry) -> Answer<'_, Flight> {
        answer(self.writing(move |desk| desk.edit_flight(&id, &entry)))
    }

    fn delete_flight(&self, id: String) -> Answer<'_, ()> {
        answer(self.writing(move |desk| desk.delete_flight(&id, None).map(|_| ())))
    }

    fn aircraft(&self, context: Option<String>) -> Answer<'_, AircraftList> {
        answer(self.at_desk(move |desk| desk.aircraft(context.as_deref())))
    }

    fn add_aircraft(&self, aircraft: NewAircraft) -> Answer<'_, Created> {
        answer(self.writing(move |desk| desk.add_aircraft(&aircraft)))
    }

    fn contexts(&self) -> Answer<'_, ContextList> {
        answer(self.at_desk(|desk| desk.contexts()))
    }

    fn create_context(&self, context: NewContext) -> Answer<'_, Created> {
        answer(self.at_desk(move |desk| desk.create_context(&context, None)))
    }

    fn invite(&self, context: String, invite: NewInvite) -> Answer<'_, Invite> {
        answer(self.at_desk(move |desk| desk.invite(&context, &invite)))
    }

    fn join(&self, join: NewJoin) -> Answer<'_, Join> {
        answer(self.join(join))
    }

    fn join_state(&self, context: String) -> Answer<'_, Join> {
        answer(self.join_state(context))
    }

    fn cancel_join(&self, context: String) -> Answer<'_, ()> {
        answer(self.cancel_join(context))
    }

    fn members(&self, context: String) -> Answer<'_, MemberList> {
        answer(self.at_desk(move |desk| desk.members(&context)))
    }

    fn set_role(&self, context: String, user: String, rights: NewRights) -> Answer<'_, Changed> {
        answer(self.at_desk(move |desk| desk.set_role(&context, &user, &rights)))
    }

    fn remove_member(&self, context: String, user: String) -> Answer<'_, Changed> {
        answer(self.at_desk(move |desk| desk.remove_member(&context, &user)))
    }

    fn leave(&self, context: String) -> Answer<'_, Changed> {
        answer(self.at_desk(move |desk| desk.leave(&context)))
    }

    fn rotate(&self, context: String) -> Answer<'_, Changed> {
        answer(self.at_desk(move |desk| desk.rotate(&context)))
    }

    fn invites(&self, context: String) -> Answer<'_, InviteList> {
        answer(self.at_desk(move |desk| desk.invites(&context)))
    }

    fn void_invite(&self, context: String, invite: String) -> Answer<'_, Changed> {
        answer(self.at_desk(move |desk| desk.void_invites(&context, Some(&invite))))
    }

    fn revoke_device(&self, device: String) -> Answer<'_, Changed> {
        answer(self.at_desk(move |desk| desk.revoke_device(&device)))
    }

    fn offer_pairing(&self) -> Answer<'_, PairingOffer> {
        answer(self.offer_pairing())
    }

    fn pairing(&self) -> Answer<'_, Pairing> {
        answer(self.pairing())
    }

    fn confirm_pairing(&self, consent: PairingConsent) -> Answer<'_, Pairing> {
        answer(self.confirm_pairing(consent.digits))
    }

    fn end_pairing(&self) -> Answer<'_, ()> {
        answer(self.end_pairing())
    }

    fn devices(&self) -> Answer<'_, DeviceList> {
        answer(self.at_desk(|desk| desk.devices()))
    }

    fn sync_status(&self) -> Answer<'_, SyncStatus> {
        answer(self.sync_status())
    }

    fn peers(&self) -> Answer<'_, PeerList> {
        answer(self.peers())
    }

    fn sync_now(&self) -> Answer<'_, ()> {
        answer(self.sync_now())
    }

    fn poke(&self) -> Answer<'_, ()> {
        answer(async { self.handle.poke().await.doing(|| "take notice".into()) })
    }

    fn conflicts(&self) -> Answer<'_, ConflictList> {
        answer(self.at_desk(|desk| {
            let found = desk.conflicts()?;
            Ok(found)
        }))
    }

    fn events(&self) -> BoxStream<'static, Event> {
        let notices = self.handle.notices();
        futures::stream::unfold(notices, |mut notices| async move {
            let event = match notices.recv().await {
                Ok(notice) => event_of(notice),
                Err(RecvError::Lagged(_)) => Event::Missed,
                Err(RecvError::Closed) => return None,
            };
            Some((event, notices))
        })
        .boxed()
    }
}

/// A service for the HTTP interface.
pub(crate) fn service(program: &Program) -> Arc<dyn Service> {
    Arc::new(program.clone())
}
