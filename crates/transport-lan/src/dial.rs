//! Reaches one device of which several addresses are known.
//!
//! Addresses are tried one shortly after the other without waiting for failures, so one good address among dead ones
//! costs no time; the first that answers and shakes hands wins.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aeroedge_transport::Side;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::handshake::{HandshakeError, Secured, shake};
use crate::instance::{Instance, InstanceKeys};

/// Head start of each address over the next.
const STAGGER: Duration = Duration::from_millis(100);
/// A neighbour answers at once or not at all; another attempt follows soon.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const SHAKE_WITHIN: Duration = Duration::from_millis(1_500);
/// More addresses than any honest host has.
const ADDRESSES_MAX: usize = 32;

/// A link could not be made. The last failure is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no address is known")]
    NoAddress,
    #[error("no address is known for the name {hint:?}")]
    Unresolved {
        hint: String,
        source: std::io::Error,
    },
    #[error("no answer at {address}")]
    NoAnswer {
        address: SocketAddr,
        source: Option<std::io::Error>,
    },
    #[error("no handshake with {address}")]
    Handshake {
        address: SocketAddr,
        source: Option<HandshakeError>,
    },
    #[error("another program answers at {address}")]
    SomebodyElse { address: SocketAddr },
    #[error("{address} is this program itself")]
    Myself { address: SocketAddr },
}

/// Connects to whoever answers first, to `expected` if that is given.
pub(crate) async fn dial(
    addresses: impl IntoIterator<Item = SocketAddr>,
    expected: Option<Instance>,
    keys: &Arc<InstanceKeys>,
) -> Result<(TcpStream, Secured), DialError> {
    let mut attempts = JoinSet::new();
    for (position, address) in in_order(addresses).into_iter().enumerate() {
        attempts.spawn(async move {
            sleep(STAGGER * position as u32).await;
            (address, connect(address).await)
        });
    }
    let mut failure = DialError::NoAddress;
    while let Some(attempt) = attempts.join_next().await {
        // An attempt is neither cancelled nor does it panic.
        let Ok((address, connected)) = attempt else {
            continue;
        };
        failure = match connected {
            Err(source) => DialError::NoAnswer { address, source },
            Ok(stream) => match secure(stream, address, expected, keys).await {
                Ok(channel) => return Ok(channel),
                Err(error) => error,
            },
        };
    }
    Err(failure)
}

/// Likely addresses first: IPv4, then routable IPv6, then link-local ones.
fn in_order(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = addresses.into_iter().collect();
    addresses.sort_by_key(|address| {
        let rank = match address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => 0,
            IpAddr::V4(ip) if ip.is_link_local() => 4,
            IpAddr::V4(_) => 1,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => 3,
            IpAddr::V6(_) => 2,
        };
        (rank, *address)
    });
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Option<std::io::Error>> {
    let connected = timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
    connected.map_err(|_| None)?.map_err(Some)
}

async fn secure(
    mut stream: TcpStream,
    address: SocketAddr,
    expected: Option<Instance>,
    keys: &InstanceKeys,
) -> Result<(TcpStream, Secured), DialError> {
    // Frames are already gathered: waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let shaken = timeout(SHAKE_WITHIN, shake(&mut stream, Side::Dialled, keys)).await;
    let secured = match shaken {
        Err(_) => {
            return Err(DialError::Handshake {
                address,
                source: None,
            });
        }
        Ok(Err(error)) => {
            return Err(DialError::Handshake {
                address,
                source: Some(error),
            });
        }
        Ok(Ok(secured)) => secured,
    };
    if secured.remote == keys.public {
        return Err(DialError::Myself { address });
    }
    if expected.is_some_and(|expected| expected != secured.remote) {
        return Err(DialError::SomebodyElse { address });
    }
    Ok((stream, secured))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_addresses_come_first() {
        let addresses = [
            "[fe80::1%2]:1",
            "169.254.3.4:1",
            "[fd00::1]:1",
            "192.168.1.2:1",
            "192.168.1.2:1",
        ];
        let ordered = in_order(addresses.iter().map(|address| address.parse().unwrap()));
        let ordered: Vec<String> = ordered.iter().map(ToString::to_string).collect();
        assert_eq!(
            ordered,
            [
                "192.168.1.2:1",
                "[fd00::1]:1",
                "[fe80::1%2]:1",
                "169.254.3.4:1"
            ]
        );
    }

    #[tokio::test]
    async fn dead_addresses_do_not_hide_a_good_one() {
        let keys = Arc::new(InstanceKeys::generate().unwrap());
        let other = Arc::new(InstanceKeys::generate().unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        // A silent listener, a refusing port and an address that leads nowhere.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refusing = {
            let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            closed.local_addr().unwrap()
        };
        let addresses = [
            refusing,
            silent.local_addr().unwrap(),
            "192.0.2.254:9".parse().unwrap(),
            good,
        ];
        let expected = other.public;
        let answer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            shake(&mut stream, Side::Accepted, &other)
                .await
                .map(|_| stream)
        });
        let (_stream, secured) = dial(addresses, Some(expected), &keys).await.unwrap();
        assert_eq!(secured.remote, expected);
        answer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn impostor_and_self_are_told_apart() {
        let keys = Arc::new(InstanceKeys::generate().unwrap());
        for (answering, expected) in [
            (
                Arc::new(InstanceKeys::generate().unwrap()),
                InstanceKeys::generate().unwrap().public,
            ),
            (Arc::clone(&keys), keys.public),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let myself = answering.public == keys.public;
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = shake(&mut stream, Side::Accepted, &answering).await;
            });
            match dial([address], Some(expected), &keys).await.map(|_| ()) {
                Err(DialError::Myself { .. }) => assert!(myself),
                Err(DialError::SomebodyElse { .. }) => assert!(!myself),
                other => panic!("{other:?}"),
            }
        }
    }
}
