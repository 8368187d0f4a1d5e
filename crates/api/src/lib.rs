//! The local HTTP interface and its OpenAPI description.
