//! What a person can do, as functions: the same for the command line, HTTP and tests.
