//! The rules of the repository as tests: what ARCHITECTURE.md promises, what files may grow to, what must not be in them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod bounds;
mod documents;
mod files;
mod rooms;
mod source;
