//! A router over a service in memory, and one way to ask it.

use std::sync::Arc;

use aeroedge_api::{Token, router};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::memory::Memory;

pub(crate) struct Interface {
    pub(crate) router: Router,
    pub(crate) token: Token,
    pub(crate) memory: Arc<Memory>,
    pub(crate) end: tokio::sync::watch::Sender<bool>,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Interface {
    pub(crate) fn new() -> Self {
        let memory = Arc::new(Memory::with_flights(30));
        let token = Token::random(&mut rand::rng());
        let (end, ended) = tokio::sync::watch::channel(false);
        let router = router(memory.clone(), token.clone(), ended);
        Self {
            router,
            token,
            memory,
            end,
        }
    }

    /// A request as a program of the same person makes it.
    pub(crate) fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8766")
            .header("authorization", format!("Bearer {}", self.token.reveal()))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn reply(&self, request: Request<Body>) -> Reply {
        let response = self.send(request).await;
        let status = response.status();
        let content_type = response
            .headers()
            .get("content-type")
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply {
            status,
            content_type,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        self.reply(request).await
    }

    pub(crate) async fn with_json(&self, method: &str, path: &str, body: &str) -> Reply {
        let request = self
            .request(method, path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.reply(request).await
    }
}

impl Reply {
    /// Asserts that this is a problem document with a status, and returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.content_type, "application/problem+json");
        assert_eq!(self.body["status"], status);
        let detail = self.body["detail"].as_str().unwrap();
        assert!(!detail.is_empty());
        detail
    }
}
