//! The floor: accepts, answers, idles. One thread, a task a connection, no check of anything.
use std::io::Write;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONNACK: &[u8] = &[0x20, 0x03, 0x00, 0x00, 0x00];
const SUBACK: &[u8] = &[0x90, 0x04, 0x00, 0x01, 0x00, 0x01];

/// Serves until it is killed; its first line on standard output is its address.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(answer(stream));
        }
    })
}

/// Any CONNECT and any SUBSCRIBE that come whole, which on loopback they do.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    for answer in [CONNACK, SUBACK] {
        let mut packet = [0; 256];
        if stream.read(&mut packet).await? == 0 {
            return Ok(());
        }
        stream.write_all(answer).await?;
    }
    stream.read(&mut [0; 1]).await.map(drop)
}
