//! The CoAP endpoint over plain UDP: discovery, challenges, public keys, and tokens for signed requests.

pub mod echo;
pub mod exchange;
pub mod limits;
pub mod links;
pub mod message;
pub mod throttle;
