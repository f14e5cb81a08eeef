//! What an operator can ask of a broker: one closed set of commands, the same whether it runs or not.
//!
//! | module | what it holds |
//! |---|---|
//! | [`command`] | commands and answers, as JSON lines |
//! | [`mod@execute`] | what a command does |
//! | [`server`] | the socket in the data directory, on a running broker |
//! | [`client`] | the other end of it |
//! | [`wire`] | lines and chunks of bounded length |
//! | [`desk`] | one way to give commands, whether a broker runs or not |
//! | [`socket`] | the socket's path, permissions and peers |
//!
//! The socket is `admin.sock` in the data directory (which only its owner may enter), mode 0600, and each peer's user
//! id is checked: the broker's own account or root. One connection carries commands one after the other: a line with a
//! [`Command`], then lines with [`Answer`]s up to the one that [is the last](Answer::is_last). The data of an import
//! follow its command in chunks (a line with the length in decimal, then that many bytes; length 0 ends it), so that
//! one that breaks off is never taken for a whole one.

pub mod client;
pub mod command;
pub mod desk;
pub mod execute;
pub mod server;
pub mod socket;
#[cfg(test)]
mod tests;
pub mod wire;

pub use command::{AdminError, Answer, BrokerKeys, Command, DeviceRecord, ErrorKind};
pub use desk::{Desk, DeskError, broker_keys};
pub use execute::{Deps, ReadFigures, execute};
pub use server::Server;
