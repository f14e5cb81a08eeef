//! What a process has used, as the operating system counts it.
use anyhow::{Context, Result};

const PAGE_BYTES: f64 = 4_096.0;
/// Less than this between two looks is rest: a timer that found nothing to do.
const IDLE_NS: u64 = 200_000;

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    cpu_ns: u64,
    resident_bytes: f64,
}

impl Usage {
    /// Of this process: all its threads' time on a processor, its resident memory.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut cpu_ns = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let running = schedstat.split_whitespace().next().context("schedstat")?;
            cpu_ns += running.parse::<u64>()?;
        }
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let pages: f64 = statm.split_whitespace().nth(1).context("statm")?.parse()?;
        Ok(Self {
            cpu_ns,
            resident_bytes: pages * PAGE_BYTES,
        })
    }

    /// Whether the process did nothing between the two looks.
    pub(crate) fn is_idle_since(&self, earlier: &Self) -> bool {
        self.cpu_ns.saturating_sub(earlier.cpu_ns) < IDLE_NS
    }
}

/// What one login, and one connection that stays, cost the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) login_us: f64,
    pub(crate) connection_bytes: f64,
}

impl Cost {
    pub(crate) fn between(before: &Usage, after: &Usage, connections: usize) -> Self {
        let connections = connections as f64;
        Self {
            login_us: after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1_000.0 / connections,
            connection_bytes: (after.resident_bytes - before.resident_bytes) / connections,
        }
    }
}

/// Each figure's median.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    let middle = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Cost {
        login_us: middle(|cost| cost.login_us),
        connection_bytes: middle(|cost| cost.connection_bytes),
    }
}
