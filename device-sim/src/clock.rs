//! The simulator's clock: microseconds since the run began.
//!
//! The only place here that reads the time. Everything else is handed a [`Micros`]: the sessions and the schedule run
//! the same under a real clock and under a test that counts for them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keygate_protocol::time::UnixTime;
use tokio::time::Instant;

/// A point in time, microseconds since the run began.
///
/// Loopback answers in tens of microseconds; milliseconds would round the interesting part away.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Micros(pub u64);

impl Micros {
    /// This many microseconds later; stops at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Microseconds since `earlier`; zero when `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// A number of whole milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// A number of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }
}

/// Where the run's time starts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the run's time now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The time since the run began.
    #[must_use]
    pub fn now(&self) -> Micros {
        let elapsed = self.start.elapsed().as_micros();
        Micros(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// The timer's view of a point in the run.
    #[must_use]
    pub fn instant(&self, at: Micros) -> Instant {
        self.start + Duration::from_micros(at.0)
    }
}

/// Wall-clock time, for the assertions of clients that cannot do AUTH.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn wall() -> UnixTime {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    UnixTime(seconds)
}
