//! The listening socket: loopback only, on the port one is used to or the next free one.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::routes::router;
use crate::service::Service;
use crate::token::Token;

/// The port that is tried first.
const USUAL_PORT: u16 = 8766;

/// The interface could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No port could be had.
    #[error("listen on 127.0.0.1 port {port}; choose another with --api-port")]
    Listen {
        /// The port asked for.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// The socket broke.
    #[error("serve the local interface")]
    Serve(#[source] io::Error),
}

/// A socket that is open and not served yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the usual port (8766) or, if it is taken, any; with a port given, that one and no other.
    pub async fn bind(port: Option<u16>) -> Result<Self, ServeError> {
        let first = port.unwrap_or(USUAL_PORT);
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, first)).await {
            Err(error) if port.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
            }
            outcome => outcome,
        };
        listener
            .and_then(|listener| {
                let address = listener.local_addr()?;
                Ok(Self { listener, address })
            })
            .map_err(|source| ServeError::Listen {
                port: first,
                source,
            })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page for a browser. It holds the token where no server sees it: do not log it.
    pub fn page_address(&self, token: &Token) -> String {
        format!("http://{}/#token={}", self.address, token.reveal())
    }

    /// Answers requests until `until` ends.
    pub async fn run(
        self,
        service: Arc<dyn Service>,
        token: Token,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let (ending, ended) = tokio::sync::watch::channel(false);
        let signal = async move {
            until.await;
            let _ = ending.send(true);
        };
        axum::serve(self.listener, router(service, token, ended))
            .with_graceful_shutdown(signal)
            .await
            .map_err(ServeError::Serve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_asked_for_is_not_replaced() {
        let first = Server::bind(Some(0)).await.unwrap();
        let taken = first.address().port();
        assert!(first.address().ip().is_loopback());
        assert!(Server::bind(Some(taken)).await.is_err());
    }

    #[tokio::test]
    async fn without_a_wish_some_port_is_found() {
        let first = Server::bind(None).await.unwrap();
        let second = Server::bind(None).await.unwrap();
        assert_ne!(first.address(), second.address());
    }
}
