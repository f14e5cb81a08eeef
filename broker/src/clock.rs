//! Time as an argument: the only module of the broker that reads the system's clocks.
use keygate_protocol::time::{Millis, UnixTime};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where a shell gets the two times that it hands to the sans-I/O core.
pub trait Clock: Send + Sync {
    /// Monotonic time: for deadlines and intervals.
    fn now(&self) -> Millis;
    /// The same in microseconds: for what happens many times a millisecond.
    fn micros(&self) -> u64 {
        self.now().0.saturating_mul(1_000)
    }
    /// Wall clock, in seconds: for what is compared with the outside world (`exp`, `not_after`, audit).
    fn wall(&self) -> UnixTime;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn wall(&self) -> UnixTime {
        // A clock before 1970 reads as 1970: every token is then "from the future" and refused.
        UnixTime(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
        )
    }
}

/// A clock that stands still until it is told: for tests and the harness.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
    wall: AtomicU64,
}

impl ManualClock {
    /// A clock at these times.
    #[must_use]
    pub fn at(now: Millis, wall: UnixTime) -> Self {
        Self {
            now: AtomicU64::new(now.0),
            wall: AtomicU64::new(wall.0),
        }
    }

    /// Moves both times forward; the wall clock by whole seconds.
    pub fn advance(&self, ms: u64) {
        let before = self.now.fetch_add(ms, Ordering::Relaxed);
        self.wall
            .fetch_add((before + ms) / 1000 - before / 1000, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::Relaxed))
    }

    fn wall(&self) -> UnixTime {
        UnixTime(self.wall.load(Ordering::Relaxed))
    }
}
