//! The listening socket: loopback only, on the port one is used to or the next free one.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::Query;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, middleware};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::guard;
use crate::routes::router;
use crate::service::Service;
use crate::token::Token;

/// The port that is tried first.
const USUAL_PORT: u16 = 8766;

/// Where a caller asks for a proof before it shows its token.
pub const PROOF_PATH: &str = "/proof";

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
        let app = proving(token.clone(), self.address.port()).merge(router(service, token, ended));
        axum::serve(self.listener, app)
            .with_graceful_shutdown(signal)
            .await
            .map_err(ServeError::Serve)
    }
}

#[derive(Deserialize)]
struct Question {
    nonce: String,
}

/// Answers whoever wants to know that this is the program of the data folder and no other that took its port. A caller
/// that has no token learns nothing from it.
fn proving(token: Token, port: u16) -> Router {
    let prove = move |Query(question): Query<Question>| {
        let proof = token.proof(port, &question.nonce);
        std::future::ready(([(header::CACHE_CONTROL, "no-store")], proof).into_response())
    };
    Router::new()
        .route(PROOF_PATH, get(prove))
        .layer(middleware::from_fn(guard::local_only))
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
