//! Real processes of the program, with data folders of their own, on the way through what people do and what goes wrong.
//!
//! Nothing here looks inside a process: everything is seen through the command line, the HTTP interface and the files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of a test may end it"
)]
#![expect(clippy::print_stdout, reason = "what was measured is shown")]

mod entries;
mod http;
mod machine;

mod bad_input;
mod crashes;
mod lan;
