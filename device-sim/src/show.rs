//! What people see while it runs: one changing line on a terminal, a line now and then elsewhere. All on standard
//! error; standard output is the report's.

use std::io::{self, IsTerminal, Write};

use device_sim::engine::{Phase, Progress, Quiet, Snapshot};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where there is no terminal, a line this often.
const LINE_EVERY_MS: u64 = 1_000;

/// Progress that can be put away.
pub(crate) trait Live: Progress {
    /// Leaves the screen as it should be.
    fn finish(&mut self) {}
}

/// The fitting progress.
pub(crate) fn live(quiet: bool) -> Box<dyn Live> {
    match () {
        () if quiet => Box::new(Quiet),
        () if io::stderr().is_terminal() => Box::new(Bar::new()),
        () => Box::new(Lines::default()),
    }
}

/// Says why the program stops.
pub(crate) fn complain(message: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr(), "device-sim: {message}");
}

impl Live for Quiet {}

struct Bar {
    bar: ProgressBar,
    rate: Rate,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{spinner} [{bar:24}] {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        Self {
            bar,
            rate: Rate::default(),
        }
    }
}

impl Progress for Bar {
    fn update(&mut self, snapshot: &Snapshot) {
        self.bar.set_length(snapshot.end_ms.max(1));
        self.bar
            .set_position(snapshot.elapsed_ms.min(snapshot.end_ms));
        self.bar.set_message(self.rate.line(snapshot));
        self.bar.tick();
    }
}

impl Live for Bar {
    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[derive(Default)]
struct Lines {
    told: Option<(u64, Phase)>,
    rate: Rate,
}

impl Progress for Lines {
    fn update(&mut self, snapshot: &Snapshot) {
        let due = self.told.is_none_or(|(at, phase)| {
            snapshot.elapsed_ms >= at + LINE_EVERY_MS || phase != snapshot.phase
        });
        if due {
            self.told = Some((snapshot.elapsed_ms, snapshot.phase));
            let _ = writeln!(io::stderr(), "{}", self.rate.line(snapshot));
        }
    }
}

impl Live for Lines {}

/// Messages a second, between two lines.
#[derive(Default)]
struct Rate {
    last: Option<(u64, u64, u64)>,
}

impl Rate {
    fn line(&mut self, now: &Snapshot) -> String {
        let phase = match now.phase {
            Phase::Preparing => {
                return format!(
                    "preparing: the watcher and the controller log in ({} devices wait)",
                    now.devices
                );
            }
            Phase::Arriving => "arriving",
            Phase::Running => "running",
            Phase::Settling => "settling",
            Phase::Closing => "closing",
        };
        let (at, logins, delivered) = self.last.unwrap_or_default();
        self.last = Some((now.elapsed_ms, now.logins.subscribed, now.reports_delivered));
        let elapsed_ms = now.elapsed_ms.saturating_sub(at).max(1);
        let a_second = |now: u64, then: u64| now.saturating_sub(then) * 1_000 / elapsed_ms;
        format!(
            "{phase} {:.1} s: {}/{} devices on ({}/s), reports {} acked, {} at the watcher ({}/s), {} orders, {} tokens, \
             {} impostors refused, {} errors",
            seconds(now.elapsed_ms),
            now.logins.subscribed,
            now.devices,
            a_second(now.logins.subscribed, logins),
            now.reports_acknowledged,
            now.reports_delivered,
            a_second(now.reports_delivered, delivered),
            now.orders_delivered,
            now.tokens,
            now.impostors_refused,
            now.errors,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_between_two_lines() {
        let mut rate = Rate::default();
        let mut snapshot = Snapshot {
            phase: Phase::Running,
            elapsed_ms: 1_000,
            devices: 9,
            ..Snapshot::default()
        };
        snapshot.reports_delivered = 500;
        assert!(rate.line(&snapshot).contains("500 at the watcher (500/s)"));
        snapshot.elapsed_ms = 3_000;
        snapshot.reports_delivered = 700;
        assert!(rate.line(&snapshot).contains("700 at the watcher (100/s)"));
    }
}
