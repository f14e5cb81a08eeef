#![doc = include_str!("../README.md")]
//!
//! # The parts
//!
//! | | |
//! |---|---|
//! | [`Setup`] | who the broker is, who exists, which rules; changed before use |
//! | [`LoginCheck`] | the verdict on a login, as a handler for rumqttd, and the `/challenge` beside it |
//! | [`SetupError`] | what keeps a check from being set up |

mod check;
mod following;
mod setup;

pub use check::LoginCheck;
pub use setup::{Setup, SetupError};
