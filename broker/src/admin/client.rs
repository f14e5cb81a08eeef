//! The other end of the admin socket.

use super::command::{Answer, Command};
use super::socket;
use super::wire::{ANSWER_BYTES_MAX, read_line, send_chunks, write_line};
use std::io::{self, BufReader, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use thiserror::Error;

/// How long a broker may take for one answer: an import of a million devices is written in less.
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);

/// The broker could not be asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The socket failed.
    #[error("the running broker cannot be asked: {0}")]
    Io(#[from] io::Error),
    /// The broker closed the connection without an answer.
    #[error("the broker closed the connection without an answer")]
    NoAnswer,
    /// The lines of an import could not be read here.
    #[error("the input cannot be read: {0}. Nothing was imported")]
    Input(io::Error),
}

/// A connection to a running broker.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// Connects to the broker that runs on this data directory; `None` if none listens there.
    pub fn open(directory: &Path) -> io::Result<Option<Self>> {
        let Some(stream) = socket::connect(directory)? else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Some(Self { stream, reader }))
    }

    /// Asks; each answer but the last goes to `each`, whose error ends it, and the last is returned. `input` holds the
    /// lines of an import.
    pub fn ask(
        &mut self,
        command: &Command,
        input: Option<Box<dyn Read + Send>>,
        each: &mut dyn FnMut(Answer) -> io::Result<()>,
    ) -> Result<Answer, ClientError> {
        write_line(&mut self.stream, command)?;
        // The lines go out beside the answers: the broker tells its progress while it still reads.
        let sending = match input {
            Some(input) => Some(self.send(input)?),
            None => None,
        };
        let answer = loop {
            match read_line::<Answer>(&mut self.reader, ANSWER_BYTES_MAX)? {
                None => return Err(ClientError::NoAnswer),
                Some(answer) if answer.is_last() => break answer,
                Some(answer) => each(answer)?,
            }
        };
        // A broker that refuses early does not read the rest: what counts then is its answer, not our broken pipe.
        if let Some(sending) = sending
            && let Ok(Err(error)) = sending.try_recv()
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(ClientError::Input(error));
        }
        Ok(answer)
    }

    fn send(
        &self,
        mut input: Box<dyn Read + Send>,
    ) -> io::Result<std::sync::mpsc::Receiver<io::Result<()>>> {
        let (done, sending) = sync_channel(1);
        let mut stream = self.stream.try_clone()?;
        std::thread::Builder::new()
            .name("import".into())
            .spawn(move || {
                let result = send_chunks(&mut input, &mut stream);
                let failed = result.is_err();
                // Nobody may wait for it any more.
                let _ = done.try_send(result);
                if failed {
                    // Without the end mark the broker imports nothing.
                    let _ = stream.shutdown(Shutdown::Write);
                }
            })?;
        Ok(sending)
    }
}
