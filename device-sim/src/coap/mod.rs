//! The gateway's side of CoAP: messages, one exchange with its retransmissions, fetching a token. Sans-I/O: datagrams
//! and time in, datagrams and results out.

pub mod exchange;
pub mod fetch;
pub mod message;
#[cfg(test)]
mod tests;
