//! The engine that another broker is: each session that logged in here is relayed on a connection of its own.
//!
//! ```text
//! client ◀── CONNACK, PUBLISH it may receive ── Relay ◀── everything ── upstream
//!        ─── PUBLISH and SUBSCRIBE it may ───▶        ─── as it came ─▶
//! ```
//! Rights stay at the gate. CONNECT is written anew (no credential of a client goes up), topic aliases are off on both
//! sides, and every other packet passes byte for byte or not at all: what a client may not publish is answered here, a
//! delivery that it may not have is acknowledged in its place. [`Relay`] is one session, without sockets: bytes and time
//! in, bytes and events out. The upstream must take connections from gates only.
//!
//! | file | what it holds |
//! |---|---|
//! | `relay.rs` `end.rs` `turn.rs` | a relayed session, how it begins and how it ends; what a call works with |
//! | `connect.rs` `connack.rs` | the two packets that are written anew |
//! | `client.rs` `publish.rs` `subscribe.rs` | what comes from the client |
//! | `deliver.rs` | what comes from the upstream |
//! | `window.rs` `asked.rs` `filters.rs` | what is on its way: messages, questions; what is subscribed |
//! | `tickets.rs` | how a broker in this process knows the gate |
//! | `fault.rs` `audit.rs` | what the upstream does wrong; the events |
//!
//! **Order.** Acknowledgements keep the order of what they answer (MQTT 5 §4.6), and some brokers insist on it. So an
//! answer of the gate waits in the window (`window.rs`) until those to earlier messages have passed.
//!
//! **A session that is resumed** has subscriptions of an earlier connection, which this one does not know. They cannot be
//! given up upstream when rights change; what they bring is judged at each delivery like all the rest.
mod asked;
mod audit;
mod client;
mod connack;
mod connect;
mod deliver;
mod end;
mod fault;
mod filters;
mod publish;
mod relay;
mod subscribe;
mod tickets;
mod turn;
mod window;

#[cfg(test)]
mod tests;

pub use connect::{Admitted, UpstreamRules};
pub use relay::{Relay, WillDenied};
pub use tickets::Tickets;
pub use turn::{Next, Output, Taken, Turn};
