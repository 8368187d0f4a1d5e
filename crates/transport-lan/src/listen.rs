//! The socket on which other devices reach this one.
//!
//! One socket serves IPv4 and IPv6 where the system allows it. A port that is taken is passed over, unless it was asked
//! for by number.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use aeroedge_transport::StartError;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The port tried first.
pub const USUAL_PORT: u16 = 8765;
/// How many ports after the usual one are tried before any free one is taken.
const PORTS_TRIED: u16 = 100;
const BACKLOG: i32 = 128;

/// Which port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Port {
    /// [`USUAL_PORT`], or the next one that is free.
    #[default]
    Usual,
    /// This one or none.
    Exactly(u16),
    /// Any free one.
    Any,
}

pub(crate) fn listen(port: Port, loopback_only: bool) -> Result<TcpListener, StartError> {
    match port {
        Port::Exactly(port) => bind(port, loopback_only).map_err(|error| explain(port, error)),
        Port::Any => bind(0, loopback_only).map_err(|error| explain(0, error)),
        Port::Usual => {
            for port in USUAL_PORT..USUAL_PORT + PORTS_TRIED {
                match bind(port, loopback_only) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    other => return other.map_err(|error| explain(port, error)),
                }
            }
            bind(0, loopback_only).map_err(|error| explain(0, error))
        }
    }
}

fn explain(port: u16, error: io::Error) -> StartError {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is in use by another program: stop it, or choose another port")
        }
        io::ErrorKind::PermissionDenied => {
            format!("this user may not listen on port {port}: choose one above 1023, or allow the program network access")
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no network address to listen on: turn on a network interface and start again".into()
        }
        _ => format!("listening on port {port} did not work: check the network settings of this machine"),
    };
    StartError {
        what,
        source: Some(error),
    }
}

fn bind(port: u16, loopback_only: bool) -> io::Result<TcpListener> {
    if loopback_only {
        return open(Domain::IPV4, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    match open(
        Domain::IPV6,
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    ) {
        // A machine without IPv6.
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
            ) =>
        {
            open(
                Domain::IPV4,
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            )
        }
        other => other,
    }
}

fn open(domain: Domain, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the connections of the last run; on Windows the option would allow stealing the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taken_port_is_passed_over_or_named() {
        let first = listen(Port::Any, true).unwrap();
        let taken = first.local_addr().unwrap().port();
        let refused = listen(Port::Exactly(taken), true).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("port {taken} is in use by another program: stop it, or choose another port")
        );
        let (one, two) = (
            listen(Port::Usual, true).unwrap(),
            listen(Port::Usual, true).unwrap(),
        );
        assert_ne!(
            one.local_addr().unwrap().port(),
            two.local_addr().unwrap().port()
        );
    }

    #[tokio::test]
    async fn one_socket_serves_both_families() {
        let listener = listen(Port::Any, false).unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ] {
            tokio::net::TcpStream::connect(address).await.unwrap();
        }
    }
}
