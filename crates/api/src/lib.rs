//! The local HTTP interface and its OpenAPI description.
//!
//! It listens on loopback only and answers nobody without the token of the data folder. Handlers translate between HTTP
//! and [`Service`]; they hold no state, no rule of the product and no SQL.

mod guard;
mod page;
mod problem;
mod routes;
mod serve;
mod service;
mod token;
pub mod types;

pub use problem::{Failure, Problem};
pub use routes::{description, router};
pub use serve::{PROOF_PATH, ServeError, Server};
pub use service::{Answer, Service};
pub use token::{Token, TokenError};
