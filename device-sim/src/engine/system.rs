//! What the process may use and what it used.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Files that a run needs besides one for each member: standard streams, the poller, the watcher and its kin.
const FILES_SPARE: u64 = 64;

/// Raises the limit of open files as far as the run needs it.
///
/// # Errors
/// How many files it needs and how many the system allows.
pub(super) fn allow_files(members: u64) -> Result<(), (u64, u64)> {
    let needed = members + FILES_SPARE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // To the hard limit, not just as far as needed: a broker in the same process needs its own.
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let allowed = maximum.unwrap_or(u64::MAX);
    if allowed < needed || setrlimit(Resource::Nofile, raised).is_err() {
        return Err((needed, allowed));
    }
    Ok(())
}

/// Resident memory, KiB; 0 where the system does not tell.
pub(super) fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Processor time of the whole process so far, ms.
pub(super) fn cpu_ms() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1_000 + part(time.tv_nsec) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_larger_than_the_system_is_refused_with_both_numbers() {
        assert_eq!(allow_files(1), Ok(()));
        let (needed, allowed) = allow_files(u64::MAX / 2).expect_err("nobody has so many");
        assert!(needed > allowed);
    }

    #[test]
    fn a_process_uses_something() {
        assert!(resident_kib() > 0);
    }
}
