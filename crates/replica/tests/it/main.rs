//! Tests of the merge engine through its public face.

mod exchange;
mod support;
