//! MQTT 3.1.1 and 5, statement by statement. [`STATEMENTS.md`](../STATEMENTS.md) lists every statement of both
//! standards that binds a server, and which case holds the broker to it.
//!
//! | file | what it holds |
//! |---|---|
//! | `case`, `run` | what a case is; running all of them |
//! | `engines` | the same cases on gates that relay, and what differs there |
//! | `stage`, `target`, `peer` | the broker, what a case may know of it, a client that does as it is told |
//! | `statements` | the list and the cases agree |
//! | the rest | the cases, by chapter |
use case::{Chapter, chapters};

mod case;
mod engines;
mod peer;
mod run;
mod stage;
mod statements;
mod target;

mod aliases;
mod auth;
mod bytes;
mod connect;
mod disconnect;
mod errors;
mod expiry;
mod flow;
mod keep_alive;
mod limits;
mod order;
mod publish;
mod qos1;
mod qos2;
mod request;
mod retained;
mod session;
mod shared;
mod subscribe;
mod topics;
mod unsubscribe;
mod wills;

/// Every chapter.
const CHAPTERS: &[Chapter] = chapters![
    aliases,
    auth,
    bytes,
    connect,
    disconnect,
    errors,
    expiry,
    flow,
    keep_alive,
    limits,
    order,
    publish,
    qos1,
    qos2,
    request,
    retained,
    session,
    shared,
    subscribe,
    topics,
    unsubscribe,
    wills,
];
