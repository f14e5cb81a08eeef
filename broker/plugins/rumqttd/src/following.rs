//! A thread that keeps the directory in step with a store that `keygate` writes.
use keygate_broker::clock::Clock;
use keygate_broker::identity::Follower;
use keygate_protocol::time::Millis;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the store is asked. It answers from one row when nothing has changed.
const INTERVAL: Duration = Duration::from_millis(500);

/// For so long a store that cannot be read is forgiven (somebody copies it, the disk is slow). Then nobody gets in any
/// more: a device that was revoked meanwhile would.
const STALE_MS: u64 = 10_000;

/// Dropping it ends the thread.
pub(crate) struct Following {
    picture: Arc<Picture>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// When the directory was last known to be what the store holds.
struct Picture {
    taken_ms: AtomicU64,
}

impl Picture {
    fn taken(&self, now: Millis) {
        self.taken_ms.store(now.0, Ordering::Relaxed);
    }

    fn is_current(&self, now: Millis) -> bool {
        now.since(Millis(self.taken_ms.load(Ordering::Relaxed))) <= STALE_MS
    }
}

impl Following {
    pub(crate) fn start(follower: Follower, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let picture = Arc::new(Picture {
            taken_ms: AtomicU64::new(clock.now().0),
        });
        let (stop, stopped) = sync_channel(0);
        let shown = Arc::clone(&picture);
        let thread = std::thread::Builder::new()
            .name("identity".to_owned())
            .spawn(move || follow(follower, &*clock, &shown, &stopped))?;
        Ok(Self {
            picture,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Whether what the directory says can be relied on.
    pub(crate) fn is_current(&self, now: Millis) -> bool {
        self.picture.is_current(now)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that follows the identity store had panicked");
        }
    }
}

/// Until the other end of `stopped` is dropped. A panic ends it too: then the picture grows stale.
fn follow(mut follower: Follower, clock: &dyn Clock, picture: &Picture, stopped: &Receiver<()>) {
    let mut failing = false;
    while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        // Before it is read: what changes while it is read may be in it or not.
        let asked = clock.now();
        match follower.refresh() {
            Ok(_) => {
                picture.taken(asked);
                failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "the identity store cannot be read; logins will be refused");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_is_not_renewed_is_soon_relied_on_no_more() {
        let picture = Picture {
            taken_ms: AtomicU64::new(5_000),
        };
        assert!(picture.is_current(Millis(5_000 + STALE_MS)));
        assert!(!picture.is_current(Millis(5_001 + STALE_MS)));
        picture.taken(Millis(5_001));
        assert!(picture.is_current(Millis(5_001 + STALE_MS)));
    }
}
