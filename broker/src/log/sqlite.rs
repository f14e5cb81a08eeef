//! The log on disk: a window that shards fill, and one thread that commits it.
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::cadence::Cadence;
use super::error::CommitError;
use super::writer::Writer;
use super::{Log, LogError, LogNumber, LogSettings, Op, Recovered};
use crate::disk::Reserve;
use crate::hub::Times;

/// How often a log without its reserve tries to set it aside again.
const RESERVE_RETRY_US: u64 = 3_000_000;
/// How often a window that found no room on the disk, not even with the reserve, is tried again.
const FULL_RETRY: Duration = Duration::from_millis(250);
/// How often such a window is tried when the broker stops.
const LAST_TRIES: u32 = 8;

/// Called on the log's thread each time that more is durable. It must be quick.
pub type OnDurable = Box<dyn Fn() + Send + Sync>;
/// Called on the log's thread when the disk is full (`true`) and when it has room again (`false`).
pub type OnFull = Box<dyn Fn(bool) + Send + Sync>;

/// Sessions, queues and retained messages in one SQLite file, `state.db`.
///
/// What is submitted goes into a window. The thread takes the whole window and writes it in one transaction: at once if
/// the last commit began long enough ago, else when that is so. Dropping the log [stops](Self::stop) it.
pub struct SqliteLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    window: Mutex<Window>,
    /// The thread waits on it while the window is empty.
    filled: Condvar,
    /// Of the last batch that is durable.
    durable: AtomicU64,
    /// Submitted and not durable.
    waiting_ops: AtomicUsize,
    waiting_bytes: AtomicUsize,
    full: AtomicBool,
    settings: LogSettings,
    on_durable: RwLock<Vec<OnDurable>>,
    on_full: RwLock<Vec<OnFull>>,
}

#[derive(Default)]
struct Window {
    batches: Vec<Vec<Op>>,
    /// The number of the last batch.
    last: u64,
    ops: usize,
    bytes: usize,
    /// The thread sleeps until the window is filled.
    idle: bool,
    stopping: bool,
}

/// What the thread took.
struct Taken {
    batches: Vec<Vec<Op>>,
    last: u64,
    ops: usize,
    bytes: usize,
}

impl SqliteLog {
    /// Opens the database, makes it if there is none, reads everything, and starts the thread. The reserve is a file
    /// beside it that ends in `.reserve`.
    ///
    /// # Errors
    /// [`LogError`]; nothing runs then.
    pub fn open(
        path: &Path,
        settings: LogSettings,
        times: Times,
    ) -> Result<(Arc<Self>, Recovered), LogError> {
        let mut reserve = Reserve::new(path.with_extension("reserve"), settings.reserve_bytes);
        if let Err(error) = reserve.make() {
            tracing::error!(
                %error,
                "cannot set {} bytes aside at {}; messages that must be kept are refused until that works",
                settings.reserve_bytes,
                reserve.path().display()
            );
        }
        let (writer, recovered) = Writer::open(path, reserve, times)?;
        Ok((Self::start(writer, settings)?, recovered))
    }

    pub(super) fn start(writer: Writer, settings: LogSettings) -> Result<Arc<Self>, LogError> {
        let full = !writer.has_reserve();
        if full {
            settings.reached.reserve_bytes.add();
        }
        let shared = Arc::new(Shared {
            window: Mutex::default(),
            filled: Condvar::new(),
            durable: AtomicU64::new(0),
            waiting_ops: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            full: AtomicBool::new(full),
            settings,
            on_durable: RwLock::default(),
            on_full: RwLock::default(),
        });
        let committer = Committer::new(Arc::clone(&shared), writer);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || committer.run())
            .map_err(LogError::Thread)?;
        Ok(Arc::new(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Adds somebody who waits for [`durable`](Log::durable) to move, for as long as the log lives.
    pub fn on_durable(&self, wake: OnDurable) {
        let mut wakes = self.shared.on_durable.write();
        wakes
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut())
            .push(wake);
    }

    /// Adds somebody who is told when the disk is full and when it has room again.
    pub fn on_full(&self, told: OnFull) {
        let mut listeners = self.shared.on_full.write();
        listeners
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut())
            .push(told);
    }

    /// Commits what is in the window, and ends the thread. What is submitted later is never durable.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.filled.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log's thread had panicked");
        }
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Log for SqliteLog {
    fn submit(&self, ops: Vec<Op>) -> LogNumber {
        let shared = &*self.shared;
        let (count, bytes) = (ops.len(), ops.iter().map(Op::size).sum());
        let ops_before = shared.waiting_ops.fetch_add(count, Ordering::Relaxed);
        let bytes_before = shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.note_reached((ops_before, count), (bytes_before, bytes));
        let mut window = shared.lock();
        if ops.is_empty() {
            return LogNumber(window.last);
        }
        window.last += 1;
        window.ops += count;
        window.bytes += bytes;
        window.batches.push(ops);
        let number = LogNumber(window.last);
        let sleeps = std::mem::take(&mut window.idle);
        drop(window);
        if sleeps {
            shared.filled.notify_one();
        }
        number
    }

    fn durable(&self) -> LogNumber {
        LogNumber(self.shared.durable.load(Ordering::Acquire))
    }

    fn has_room(&self) -> bool {
        let shared = &*self.shared;
        shared.waiting_ops.load(Ordering::Relaxed) < shared.settings.window_ops
            && shared.waiting_bytes.load(Ordering::Relaxed) < shared.settings.window_bytes
    }

    fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Counts the bounds of the window that this batch, on top of what waited before, has crossed.
    fn note_reached(&self, ops: (usize, usize), bytes: (usize, usize)) {
        let crosses = |(before, added): (usize, usize), bound| {
            before < bound && before.saturating_add(added) >= bound
        };
        let LogSettings {
            window_ops,
            window_bytes,
            reached,
            ..
        } = &self.settings;
        if crosses(ops, *window_ops) {
            reached.log_window_ops.add();
        }
        if crosses(bytes, *window_bytes) {
            reached.log_window_bytes.add();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        // Nothing in a window can be half done.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'w>(&self, window: MutexGuard<'w, Window>, us: Option<u64>) -> MutexGuard<'w, Window> {
        let woken = match us {
            None => self.filled.wait(window),
            Some(us) => self
                .filled
                .wait_timeout(window, Duration::from_micros(us))
                .map(|(window, _)| window)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to here is durable: says so, and makes room.
    fn advance(&self, taken: &Taken) {
        self.waiting_ops.fetch_sub(taken.ops, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(taken.bytes, Ordering::Relaxed);
        self.durable.store(taken.last, Ordering::Release);
        let wakes = self
            .on_durable
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        wakes.iter().for_each(|wake| wake());
    }

    fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) == full {
            return;
        }
        if full {
            self.settings.reached.reserve_bytes.add();
        }
        match full {
            true => tracing::error!(
                "the disk is full: the reserve is in use, and messages that must be kept are refused until there is room"
            ),
            false => tracing::info!(
                "the disk has room again: the reserve is back, and messages are taken"
            ),
        }
        let told = self.on_full.read().unwrap_or_else(PoisonError::into_inner);
        told.iter().for_each(|told| told(full));
    }
}

/// The thread.
struct Committer {
    shared: Arc<Shared>,
    writer: Writer,
    cadence: Cadence,
    /// When to try to set the reserve aside again.
    reserve_at: u64,
}

impl Committer {
    fn new(shared: Arc<Shared>, writer: Writer) -> Self {
        let now = shared.settings.clock.micros();
        Self {
            cadence: Cadence::new(shared.settings.commit_us),
            reserve_at: now.saturating_add(RESERVE_RETRY_US),
            shared,
            writer,
        }
    }

    fn run(mut self) {
        while let Some(taken) = self.take() {
            if !self.commit(&taken) {
                return;
            }
            self.shared.advance(&taken);
            if !taken.batches.is_empty() && !self.checkpoint(Writer::checkpoint_if_due) {
                return;
            }
            self.restore_reserve();
        }
        self.checkpoint(Writer::checkpoint);
    }

    /// Waits for a window and its time. `None` when the broker stops and nothing is left. An empty window is one in
    /// which only the reserve is to be looked at.
    fn take(&mut self) -> Option<Taken> {
        let shared = Arc::clone(&self.shared);
        let mut window = shared.lock();
        let mut waited = false;
        loop {
            let now = shared.settings.clock.micros();
            let empty = window.batches.is_empty();
            let wait = match () {
                () if window.stopping && empty => return None,
                () if window.stopping => Some(0),
                () if !empty => Some(self.cadence.wait(now)),
                () if !shared.full.load(Ordering::Relaxed) => None,
                () => Some(self.reserve_at.saturating_sub(now)),
            };
            if wait == Some(0) {
                break;
            }
            if !empty && !std::mem::replace(&mut waited, true) {
                shared.settings.reached.log_commit_ms.add();
            }
            window.idle = empty;
            window = shared.wait(window, wait);
            window.idle = false;
        }
        if !window.batches.is_empty() {
            self.cadence.begin(shared.settings.clock.micros());
        }
        Some(Taken {
            batches: std::mem::take(&mut window.batches),
            last: window.last,
            ops: std::mem::take(&mut window.ops),
            bytes: std::mem::take(&mut window.bytes),
        })
    }

    /// Makes the window durable, however long that takes. False if that will never be.
    fn commit(&mut self, taken: &Taken) -> bool {
        let mut last_tries = LAST_TRIES;
        loop {
            let result = self.writer.commit(taken.batches.iter().flatten());
            self.note_reserve();
            match result {
                Ok(_) => return true,
                Err(CommitError::Fault(fault)) => {
                    (self.shared.settings.on_fault)(&fault);
                    return false;
                }
                Err(CommitError::Full) => {}
            }
            // Somebody else took what the reserve gave back. Nothing is acknowledged, and nothing is lost.
            self.shared.set_full(true);
            let window = self.shared.lock();
            if window.stopping {
                last_tries -= 1;
                if last_tries == 0 {
                    tracing::error!(
                        operations = taken.ops,
                        "the disk is full: what was not acknowledged is not stored"
                    );
                    return false;
                }
            }
            // Woken or not: the disk decides.
            drop(
                self.shared
                    .filled
                    .wait_timeout(window, FULL_RETRY)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }

    /// False if the disk has failed.
    fn checkpoint(&mut self, checkpoint: impl Fn(&mut Writer) -> Result<(), CommitError>) -> bool {
        let result = checkpoint(&mut self.writer);
        self.note_reserve();
        match result {
            Ok(()) => true,
            Err(CommitError::Full) => {
                // The write-ahead log keeps what is in it; the next window tries again.
                self.shared.set_full(true);
                true
            }
            Err(CommitError::Fault(fault)) => {
                (self.shared.settings.on_fault)(&fault);
                false
            }
        }
    }

    /// Whether the reserve was given back just now.
    fn note_reserve(&mut self) {
        if !self.writer.has_reserve() && !self.shared.full.load(Ordering::Relaxed) {
            let now = self.shared.settings.clock.micros();
            self.reserve_at = now.saturating_add(RESERVE_RETRY_US);
            self.shared.set_full(true);
        }
    }

    fn restore_reserve(&mut self) {
        let now = self.shared.settings.clock.micros();
        if !self.shared.full.load(Ordering::Relaxed) || now < self.reserve_at {
            return;
        }
        self.reserve_at = now.saturating_add(RESERVE_RETRY_US);
        if self.writer.restore_reserve() {
            self.shared.set_full(false);
        }
    }
}
