//! Time for tests: how long to wait for what must come, and how long something took.
use std::time::{Duration, Instant};

/// How long a test waits for what must come. Far more than it takes: a busy machine is no failure, a hang is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// When to stop waiting.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// [`PATIENCE`] from now.
    #[must_use]
    pub fn new() -> Self {
        Self::after(PATIENCE)
    }

    /// This long from now.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self(now() + wait)
    }

    /// What is left; `None` when it is over.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0
            .checked_duration_since(now())
            .filter(|left| !left.is_zero())
    }

    /// Fails the test if it is over.
    ///
    /// # Panics
    /// When the deadline has passed; `what` says what was waited for.
    #[track_caller]
    pub fn check(self, what: &str) {
        assert!(self.left().is_some(), "waited in vain for {what}");
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::new()
    }
}

/// Measures.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(now())
    }

    /// How long it has been.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        now().duration_since(self.0)
    }
}

/// Lets this time pass: for programs that disturb a broker at random moments. A test waits for an event instead.
pub fn idle(time: Duration) {
    let end = Deadline::after(time);
    while let Some(left) = end.left() {
        std::thread::park_timeout(left);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock of the tests")]
fn now() -> Instant {
    Instant::now()
}
