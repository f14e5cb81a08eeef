//! What `cargo ratchet` and `cargo compare` share: brokers in processes of their own, and what those processes used.
//!
//! A program that uses [`Server`] must answer to `broker DIR` by calling [`run_broker`]: that is how Keygate gets a
//! process of its own that is never an older build than the program that measures it. One that uses
//! [`Server::start_over_tls`] must answer to `--data DIR serve …` as `keygate` does.
mod certificates;
mod server;
mod usage;

pub use certificates::Certificates;
pub use server::{Kind, People, Server, allow_files, itself, run_broker};
pub use usage::{Usage, median};

use std::net::UdpSocket;
use std::time::Duration;

/// Between two looks at a process.
const PAUSE: Duration = Duration::from_millis(10);

/// A little while: a read with a deadline on a socket that nobody writes to.
///
/// # Errors
/// When there is no socket to be had.
pub fn pause() -> std::io::Result<()> {
    let silent = UdpSocket::bind("127.0.0.1:0")?;
    silent.set_read_timeout(Some(PAUSE))?;
    let _ = silent.recv(&mut [0; 1]);
    Ok(())
}
