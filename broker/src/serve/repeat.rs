//! Something that is to be done again and again.
use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Does something on a thread of its own, at once and then whenever so much time has passed, until it is dropped.
pub(super) struct Repeat {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Repeat {
    pub(super) fn start(
        name: &str,
        every: Duration,
        mut again: impl FnMut() -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let run = move || {
            while again().is_continue()
                && stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout)
            {}
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            tracing::error!("a thread had panicked");
        }
    }
}
