//! Announces this driver by mDNS and hears of others.
//!
//! What is announced is random or keyed: an instance key as service and host name, and tags. Their number is rounded up
//! with random ones, so that it does not tell how many groups a device belongs to.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use aeroedge_transport::Tag;
use mdns_sd::{
    IfKind, MDNS_PORT, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent,
    ServiceInfo, TxtProperty,
};
use rand::Rng;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Interfaces;
use crate::instance::Instance;

const SERVICE: &str = "_aeroedge._tcp.local.";
/// Version of the announcement and of the wire behind it.
const VERSION: &[u8] = b"1";
/// A TXT string holds 255 bytes, its key and `=` included.
const TAGS_PER_KEY: usize = 31;
const KEYS_MAX: usize = 4;
const TAGS_MAX: usize = TAGS_PER_KEY * KEYS_MAX;
/// The number of tags is rounded up to a multiple of this.
const TAGS_ROUNDED_TO: usize = 4;
/// Interfaces and addresses come and go: a phone changes its network within seconds.
const INTERFACES_EVERY_SECONDS: u32 = 1;
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody is here.
    Announced {
        instance: Instance,
        addresses: BTreeSet<SocketAddr>,
        tags: Vec<Tag>,
    },
    /// Somebody is not announced any more.
    Silent(Instance),
}

/// mDNS does not work. The message is for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    #[error(
        "neighbours cannot be found, because another program keeps UDP port {MDNS_PORT} to itself: stop it, or give their addresses"
    )]
    PortTaken(#[source] io::Error),
    #[error(
        "neighbours cannot be found, because this program may not use UDP port {MDNS_PORT}: allow it, or give their addresses"
    )]
    PortForbidden(#[source] io::Error),
    #[error(
        "neighbours cannot be found, because mDNS does not work on this machine: give their addresses"
    )]
    Daemon(#[from] mdns_sd::Error),
}

/// mDNS at work.
pub(crate) struct Discovery {
    daemon: ServiceDaemon,
    instance: Instance,
    port: u16,
    interfaces: Interfaces,
    /// The tags announced now, without the random ones.
    announced: Vec<Tag>,
}

impl Discovery {
    /// Starts the responder; nothing is announced yet.
    pub(crate) fn start(
        instance: Instance,
        port: u16,
        interfaces: Interfaces,
    ) -> Result<Self, DiscoveryError> {
        check_port()?;
        let daemon = ServiceDaemon::new()?;
        daemon.set_ip_check_interval(INTERFACES_EVERY_SECONDS)?;
        if interfaces == Interfaces::Loopback {
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(loopback())?;
        }
        Ok(Self {
            daemon,
            instance,
            port,
            interfaces,
            announced: Vec::new(),
        })
    }

    /// What is heard from now on, for [`heard`] to read.
    pub(crate) fn browse(&self) -> Result<Receiver<ServiceEvent>, DiscoveryError> {
        Ok(self.daemon.browse(SERVICE)?)
    }

    /// Announces these tags in place of the ones before; none means to fall silent.
    pub(crate) fn announce(&mut self, mut tags: Vec<Tag>) -> Result<(), DiscoveryError> {
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > TAGS_MAX {
            tracing::warn!(
                tags = tags.len(),
                "more groups than an announcement holds: some are left out"
            );
            tags.truncate(TAGS_MAX);
        }
        if tags == self.announced {
            return Ok(());
        }
        if tags.is_empty() {
            self.daemon.unregister(&self.full_name())?;
        } else {
            let name = self.instance.name();
            let host = format!("{}.local.", &name[..16]);
            let properties = properties(rounded(tags.clone()));
            let mut info = ServiceInfo::new(SERVICE, &name, &host, "", self.port, properties)?
                .enable_addr_auto();
            // The names are random: there is nobody to ask whether they are taken.
            info.set_requires_probe(false);
            if self.interfaces == Interfaces::Loopback {
                info.set_interfaces(loopback());
            }
            self.daemon.register(info)?;
        }
        self.announced = tags;
        Ok(())
    }

    /// Says goodbye.
    pub(crate) async fn stop(self) {
        let goodbye = async {
            if let Ok(done) = self.daemon.unregister(&self.full_name()) {
                let _ = done.recv_async().await;
            }
            if let Ok(done) = self.daemon.shutdown() {
                let _ = done.recv_async().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE_WITHIN, goodbye).await;
    }

    fn full_name(&self) -> String {
        format!("{}.{SERVICE}", self.instance.name())
    }
}

/// The responder shares the port with others of its kind, and says nothing when it cannot have it at all.
fn check_port() -> Result<(), DiscoveryError> {
    let bind = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, MDNS_PORT)).into())
    };
    bind().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => DiscoveryError::PortForbidden(error),
        _ => DiscoveryError::PortTaken(error),
    })
}

/// Reads one event; most carry nothing new, some come from strangers' programs.
pub(crate) fn heard(event: &ServiceEvent) -> Option<Heard> {
    match event {
        ServiceEvent::ServiceResolved(service) => announced(service),
        ServiceEvent::ServiceRemoved(_, name) => instance_of(name).map(Heard::Silent),
        _ => None,
    }
}

fn announced(service: &ResolvedService) -> Option<Heard> {
    let instance = instance_of(&service.fullname)?;
    if service.get_property_val("v")?? != VERSION {
        tracing::debug!(?instance, "announced by a program of another version");
        return None;
    }
    let tags = (0..KEYS_MAX)
        .map_while(|number| service.get_property_val(&key(number)).flatten())
        .flat_map(|value| value.as_chunks::<{ size_of::<Tag>() }>().0)
        .copied()
        .collect();
    let addresses = service
        .addresses
        .iter()
        .filter_map(|address| socket_address(address, service.port))
        .collect();
    Some(Heard::Announced {
        instance,
        addresses,
        tags,
    })
}

fn instance_of(full_name: &str) -> Option<Instance> {
    let (name, service) = full_name.split_once('.')?;
    (service == SERVICE).then(|| Instance::from_name(name))?
}

fn socket_address(address: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match address {
        ScopedIp::V4(address) => Some(SocketAddr::from((*address.addr(), port))),
        ScopedIp::V6(address) => {
            let scope = if address.addr().is_unicast_link_local() {
                address.scope_id().index
            } else {
                0
            };
            Some(SocketAddrV6::new(*address.addr(), port, 0, scope).into())
        }
        _ => None,
    }
}

fn rounded(mut tags: Vec<Tag>) -> Vec<Tag> {
    let mut random = rand::rng();
    while !tags.len().is_multiple_of(TAGS_ROUNDED_TO) {
        let mut tag = Tag::default();
        random.fill_bytes(&mut tag);
        tags.push(tag);
    }
    // Sorted, a random tag stands anywhere.
    tags.sort_unstable();
    tags
}

fn properties(tags: Vec<Tag>) -> Vec<TxtProperty> {
    let mut properties = vec![TxtProperty::from(("v", VERSION))];
    for (number, some) in tags.chunks(TAGS_PER_KEY).enumerate() {
        properties.push(TxtProperty::from((key(number), some.as_flattened())));
    }
    properties
}

fn key(number: usize) -> String {
    format!("t{number}")
}

fn loopback() -> Vec<IfKind> {
    vec![IfKind::LoopbackV4, IfKind::LoopbackV6]
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::instance::InstanceKeys;

    fn resolved(name: &str, tags: Vec<Tag>) -> ServiceEvent {
        let info = ServiceInfo::new(
            SERVICE,
            name,
            "host.local.",
            "10.1.2.3,fd00::3",
            8766,
            properties(tags),
        )
        .unwrap();
        ServiceEvent::ServiceResolved(Box::new(info.as_resolved_service()))
    }

    #[test]
    fn announcement_reads_back() {
        let instance = InstanceKeys::generate().unwrap().public;
        for count in [0, 1, TAGS_PER_KEY, TAGS_PER_KEY + 1, TAGS_MAX] {
            let tags: Vec<Tag> = (0..count as u64).map(u64::to_be_bytes).collect();
            let expected = Heard::Announced {
                instance,
                addresses: ["10.1.2.3:8766", "[fd00::3]:8766"]
                    .map(|text| text.parse().unwrap())
                    .into(),
                tags: tags.clone(),
            };
            assert_eq!(heard(&resolved(&instance.name(), tags)), Some(expected));
        }
    }

    #[test]
    fn other_programs_are_not_heard() {
        assert_eq!(heard(&resolved("a printer", Vec::new())), None);
        let name = InstanceKeys::generate().unwrap().public.name();
        let newer = vec![TxtProperty::from(("v", b"2"))];
        for properties in [newer, Vec::new()] {
            let info =
                ServiceInfo::new(SERVICE, &name, "host.local.", "10.1.2.3", 1, properties).unwrap();
            assert_eq!(
                heard(&ServiceEvent::ServiceResolved(Box::new(
                    info.as_resolved_service()
                ))),
                None
            );
        }
    }

    #[test]
    fn number_of_tags_is_rounded_up() {
        for (count, announced) in [(1, 4), (4, 4), (5, 8), (TAGS_MAX, TAGS_MAX)] {
            let tags: Vec<Tag> = (0..count as u64).map(u64::to_be_bytes).collect();
            let all = rounded(tags.clone());
            assert_eq!(all.len(), announced);
            assert!(tags.iter().all(|tag| all.contains(tag)));
        }
    }

    #[test]
    fn random_announcements_are_heard_or_not_but_never_harm() {
        let mut random = rand::rng();
        for _ in 0..2_000 {
            let mut value = vec![0; random.random_range(0..250)];
            random.fill_bytes(&mut value);
            let name = match random.random_range(0..3) {
                0 => String::from_utf8_lossy(&value[..value.len().min(20)]).into_owned(),
                1 => "a".repeat(value.len().min(60)),
                _ => InstanceKeys::generate().unwrap().public.name(),
            };
            let properties = vec![
                TxtProperty::from(("v", VERSION)),
                TxtProperty::from(("t0", &value)),
                TxtProperty::from("t1"),
            ];
            let info =
                ServiceInfo::new(SERVICE, &name, "host.local.", "10.1.2.3", 1, properties).unwrap();
            let service = ServiceEvent::ServiceResolved(Box::new(info.as_resolved_service()));
            if let Some(Heard::Announced { tags, .. }) = heard(&service) {
                assert_eq!(tags.len(), value.len() / size_of::<Tag>());
            }
            let removed = ServiceEvent::ServiceRemoved(SERVICE.into(), name);
            assert_eq!(heard(&removed), None);
        }
    }
}
