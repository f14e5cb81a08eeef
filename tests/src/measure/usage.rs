//! What a process has used, as the operating system counts it.
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

const PAGE_BYTES: f64 = 4_096.0;
/// Less than this between two looks is rest: a timer that found nothing to do.
const IDLE_NS: u64 = 200_000;

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    cpu_ns: u64,
    resident_bytes: f64,
}

impl Usage {
    /// Of this process: all its threads' time on a processor, its resident memory.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let mut cpu_ns = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            cpu_ns += running_ns(&task?.path())?;
        }
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let pages: f64 = statm.split_whitespace().nth(1).context("statm")?.parse()?;
        Ok(Self {
            cpu_ns,
            resident_bytes: pages * PAGE_BYTES,
        })
    }

    /// Processor time since an earlier look, µs.
    #[must_use]
    pub fn cpu_us_since(&self, earlier: &Self) -> f64 {
        self.cpu_ns.saturating_sub(earlier.cpu_ns) as f64 / 1_000.0
    }

    /// How much more memory is resident than at an earlier look, bytes; less is negative.
    #[must_use]
    pub fn bytes_since(&self, earlier: &Self) -> f64 {
        self.resident_bytes - earlier.resident_bytes
    }

    /// Whether the process did nothing between the two looks.
    #[must_use]
    pub fn is_idle_since(&self, earlier: &Self) -> bool {
        self.cpu_ns.saturating_sub(earlier.cpu_ns) < IDLE_NS
    }
}

/// How long a thread has run, ns. One that ended since it was listed has run for nothing that is still counted.
fn running_ns(task: &Path) -> Result<u64> {
    let schedstat = match std::fs::read_to_string(task.join("schedstat")) {
        Err(error) if has_ended(&error) => return Ok(0),
        read => read?,
    };
    let running = schedstat.split_whitespace().next().context("schedstat")?;
    Ok(running.parse()?)
}

/// A thread that ended: its directory is gone, or it ended between the opening and the reading of its file.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The median of one figure over several rounds; not a number if there was none.
pub fn median<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(&[3.0, 1.0, 2.0], |figure| *figure) - 2.0).abs() < f64::EPSILON);
        assert!(median::<f64>(&[], |figure| *figure).is_nan());
    }

    #[test]
    fn a_thread_that_ended_counts_for_nothing() {
        let ended = Path::new("/proc/self/task/0");
        assert_eq!(running_ns(ended).expect("it is left out"), 0);
        let other = Path::new("/proc/self/task/\0");
        assert!(running_ns(other).is_err(), "not every error is an end");
    }

    #[test]
    fn this_process_has_used_something() {
        // The system counts in ticks: asking uses time until one is counted.
        let usage = loop {
            let usage = Usage::of(std::process::id()).expect("it is there");
            if usage.cpu_ns > 0 {
                break usage;
            }
        };
        assert!(usage.resident_bytes > 0.0);
        assert!(usage.is_idle_since(&usage));
    }
}
