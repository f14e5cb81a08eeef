//! What the tests share: brokers to start, peers that talk to them byte by byte, and the audit trail to read.
//!
//! | module | what it holds |
//! |---|---|
//! | [`broker`] | a broker in this process, on free ports, in a directory of its own |
//! | [`process`] | the real program: `serve`, SIGKILL, restart, the command line |
//! | [`doors`] | where a running broker listens; the honest ways to log in |
//! | [`device`] | a device and its key; CONNECTs, proofs and assertions, honest or forged |
//! | [`wire`], [`session`] | a connection byte by byte; a client that has logged in |
//! | [`coap`] | token requests over UDP |
//! | [`witness`] | an operator who was there all the time and can say that nothing happened |
//! | [`audit`], [`admin`] | what was recorded; what an operator asks |
//! | [`measure`] | brokers in processes of their own, and what those used: for the ratchet and the comparison |
//! | [`peers`] | clients that we did not write: Python, Mosquitto |
//! | [`clock`], [`net`], [`bytes`] | deadlines, addresses, buffers |
//!
//! Nothing here sleeps: a test waits for what must come, up to a deadline ([`clock::PATIENCE`]), and fails with a
//! message that says what it waited for.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

pub mod admin;
pub mod audit;
pub mod broker;
pub mod bytes;
pub mod clock;
pub mod coap;
pub mod device;
pub mod doors;
pub mod measure;
pub mod net;
pub mod peers;
pub mod process;
pub mod session;
pub mod stream;
pub mod wire;
pub mod witness;
