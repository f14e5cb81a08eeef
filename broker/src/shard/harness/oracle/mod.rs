//! Random programs of clients of both versions, judged by a simple model of MQTT: who must, and who may, have received
//! what.
//!
//! The model does not imitate the broker. It keeps a history of what the clients did and saw; every deed has a span in
//! which the broker took it in, from when it was sent until it was answered, or until everything came to rest. What
//! surely held all through a span must show, what perhaps held may show, nothing else may.
//!
//! | file | what it holds |
//! |---|---|
//! | `program` | what may happen, and how a seed decides it |
//! | `peer` | a client that keeps its own session |
//! | `history` | what the clients did and saw, and when |
//! | `judge` | MQTT's rules about a history |
//! | `run` | the test |
//!
//! `KEYGATE_PROGRAMS=100000 cargo test -p keygate-broker --lib random_programs` runs more of them, `KEYGATE_SEED` says
//! where to begin. A program that fails is cut down to the part that still does, and printed; `KEYGATE_TRACE=1` prints
//! all that the clients did and saw as well.
mod history;
mod judge;
mod peer;
mod program;
mod run;
