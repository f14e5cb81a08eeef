//! The report as a table for people.

use std::fmt::{self, Display, Formatter};

use super::latency::Latency;
use super::model::Report;
use crate::ledger::Summary;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            devices,
            broker_id,
            mqtt,
            bound,
            elapsed_ms,
            seed,
            ..
        } = self;
        let bound = if *bound {
            " (logins bound to the channel)"
        } else {
            ""
        };
        writeln!(
            f,
            "{scenario}: {devices} devices against {broker_id} at {mqtt}{bound}, seed \"{seed}\", {} s",
            seconds(*elapsed_ms)
        )?;
        if !self.summary.is_empty() {
            writeln!(f, "{}", self.summary)?;
        }
        writeln!(f)?;
        self.counts(f)?;
        self.ledgers(f)?;
        self.latencies(f)?;
        self.trouble(f)?;
        self.verdict(f)
    }
}

impl Report {
    fn counts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            logins,
            tokens,
            impostors,
            ..
        } = self;
        writeln!(
            f,
            "logins     {} of {} granted, {} broker proofs verified, {} subscribed, {} failed",
            logins.granted,
            logins.attempted,
            logins.broker_proofs,
            logins.subscribed,
            logins.failed
        )?;
        if tokens.attempted > 0 {
            writeln!(
                f,
                "tokens     {} of {} granted over CoAP in answers signed by the broker, at most {} bytes, {} requests repeated",
                tokens.granted, tokens.attempted, tokens.bytes_max, tokens.retransmitted
            )?;
        }
        if impostors.attempted > 0 {
            writeln!(
                f,
                "impostors  {} tried, {} refused (0x87), {} admitted, {} ended otherwise",
                impostors.attempted, impostors.refused, impostors.admitted, impostors.other
            )?;
        }
        let process = &self.process;
        let grown_kib = process
            .resident_full_kib
            .saturating_sub(process.resident_before_kib);
        writeln!(
            f,
            "process    {:.1} s of processor time, {} MiB resident before the fleet, {} MiB with it: {} bytes a device",
            ms_to_s(process.cpu_ms),
            process.resident_before_kib / 1024,
            process.resident_full_kib / 1024,
            grown_kib * 1024 / u64::from(self.devices.max(1))
        )?;
        writeln!(f)
    }

    fn ledgers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20}{:>10}{:>10}{:>10}{:>10}{:>7}{:>7}{:>7}{:>11}{:>9}",
            "ledger",
            "scheduled",
            "sent",
            "acked",
            "arrived",
            "lost",
            "twice",
            "(DUP)",
            "reordered",
            "strange"
        )?;
        ledger_row(f, "device -> watcher", &self.reports)?;
        ledger_row(f, "operator -> device", &self.desired)?;
        for stream in &self.streams {
            ledger_row(f, &stream.name, &stream.messages)?;
        }
        writeln!(f)
    }

    fn latencies(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "from when it was due", "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        let latency = &self.latency;
        for (name, row) in [
            ("login", &latency.login),
            ("login + subscribe", &latency.ready),
            ("report to PUBACK", &latency.publish_ack),
            ("report to watcher", &latency.publish_delivery),
            ("order to PUBACK", &latency.desired_ack),
            ("order to device", &latency.desired_delivery),
            ("token over CoAP", &latency.token),
            ("(our own lateness)", &latency.schedule_lag),
        ] {
            if row.count > 0 {
                latency_row(f, name, row)?;
            }
        }
        for stream in &self.streams {
            latency_row(f, &stream.name, &stream.delivery)?;
        }
        writeln!(f)
    }

    fn trouble(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.refusals {
            writeln!(f, "refused    {what}: {count}")?;
        }
        for error in &self.errors {
            writeln!(f, "error      {}: {}", error.kind, error.count)?;
            for example in &error.examples {
                writeln!(f, "           {example}")?;
            }
            if let Some(advice) = error.advice {
                writeln!(f, "           -> {advice}")?;
            }
        }
        if !self.errors.is_empty() || !self.refusals.is_empty() {
            writeln!(f)?;
        }
        Ok(())
    }

    fn verdict(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let mark = if check.passed { "ok    " } else { "MISSED" };
            writeln!(
                f,
                "{mark} {:<48} {} (wanted {})",
                check.name, check.found, check.wanted
            )?;
        }
        writeln!(f)?;
        let verdict = if self.passed {
            "All as it should be."
        } else {
            "Not as it should be: see the lines marked MISSED."
        };
        writeln!(f, "{verdict}\nThe same again: {}", self.command)
    }
}

fn ledger_row(f: &mut Formatter<'_>, name: &str, row: &Summary) -> fmt::Result {
    if row.scheduled == 0 {
        return Ok(());
    }
    writeln!(
        f,
        "{name:<20}{:>10}{:>10}{:>10}{:>10}{:>7}{:>7}{:>7}{:>11}{:>9}",
        row.scheduled,
        row.sent,
        row.acknowledged,
        row.delivered,
        row.lost,
        row.duplicates,
        row.redelivered,
        row.reordered,
        row.strange
    )
}

fn latency_row(f: &mut Formatter<'_>, name: &str, row: &Latency) -> fmt::Result {
    let Latency {
        count,
        p50_us,
        p90_us,
        p99_us,
        p999_us,
        max_us,
    } = *row;
    write!(f, "{name:<20}{count:>10}")?;
    for us in [p50_us, p90_us, p99_us, p999_us, max_us] {
        write!(f, "{:>10}", duration(us))?;
    }
    writeln!(f)
}

/// A duration with a unit and about three digits.
#[expect(
    clippy::cast_precision_loss,
    reason = "shown with two decimals at most"
)]
pub(super) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

fn seconds(ms: u64) -> String {
    format!("{:.1}", ms_to_s(ms))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn ms_to_s(ms: u64) -> f64 {
    ms as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_three_digits() {
        for (us, text) in [
            (0, "0 us"),
            (999, "999 us"),
            (1_234, "1.23 ms"),
            (99_940, "99.9 ms"),
            (1_500_000, "1.50 s"),
        ] {
            assert_eq!(duration(us), text);
        }
    }
}
