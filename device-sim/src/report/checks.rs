//! What every run must hold, and the scenario's limits on top.

use super::latency::Latency;
use super::model::{Check, Report};
use crate::ledger::Summary;
use crate::scenario::Scenario;

/// Judges a report; `pinned` says that the broker's key was known, so that it had to prove itself every time.
pub(crate) fn checks(
    report: &Report,
    scenario: &Scenario,
    streamed: &Summary,
    pinned: bool,
) -> Vec<Check> {
    let devices = u64::from(scenario.fleet.devices);
    let mut checks = vec![exact(
        "devices logged in and subscribed",
        devices,
        report.logins.subscribed,
    )];
    if pinned {
        checks.push(exact(
            "broker proofs verified",
            report.logins.granted,
            report.logins.broker_proofs,
        ));
    }
    ledger(&mut checks, &report.reports, &REPORTS);
    ledger(&mut checks, &report.desired, &ORDERS);
    ledger(&mut checks, streamed, &STREAMS);
    let tokens = u64::from(scenario.gateways.count) * u64::from(scenario.gateways.tokens);
    if tokens > 0 {
        checks.push(exact(
            "tokens granted and verified",
            tokens,
            report.tokens.granted,
        ));
    }
    let impostors = u64::from(scenario.impostors.count);
    if impostors > 0 {
        checks.push(exact(
            "impostors refused with 0x87",
            impostors,
            report.impostors.refused,
        ));
        checks.push(exact("impostors admitted", 0, report.impostors.admitted));
    }
    let errors = report.errors.iter().map(|error| error.count).sum();
    checks.push(exact("errors", 0, errors));

    let limits = &scenario.thresholds;
    let latency = &report.latency;
    limit(
        &mut checks,
        "login, p99",
        limits.login_p99_ms,
        &latency.login,
    );
    limit(
        &mut checks,
        "report to PUBACK, p99",
        limits.publish_ack_p99_ms,
        &latency.publish_ack,
    );
    limit(
        &mut checks,
        "report to watcher, p99",
        limits.publish_delivery_p99_ms,
        &latency.publish_delivery,
    );
    limit(
        &mut checks,
        "order to device, p99",
        limits.desired_delivery_p99_ms,
        &latency.desired_delivery,
    );
    limit(
        &mut checks,
        "token, p99",
        limits.token_p99_ms,
        &latency.token,
    );
    checks
}

/// What the lines about one direction are called.
struct Names {
    arrived: &'static str,
    lost: &'static str,
    duplicates: &'static str,
    reordered: &'static str,
    strange: &'static str,
}

const REPORTS: Names = Names {
    arrived: "reports acknowledged and at the watcher",
    lost: "reports acknowledged and lost",
    duplicates: "reports delivered twice without DUP",
    reordered: "reports out of order within a device",
    strange: "reports that nobody sent, or on another's topic",
};

const ORDERS: Names = Names {
    arrived: "orders acknowledged and at their device",
    lost: "orders acknowledged and lost",
    duplicates: "orders delivered twice without DUP",
    reordered: "orders out of order within a device",
    strange: "orders that nobody sent, or for another device",
};

const STREAMS: Names = Names {
    arrived: "streamed messages acknowledged and at their reader",
    lost: "streamed messages acknowledged and lost",
    duplicates: "streamed messages delivered twice without DUP",
    reordered: "streamed messages out of order within a sender",
    strange: "streamed messages that nobody sent, or elsewhere",
};

fn ledger(checks: &mut Vec<Check>, summary: &Summary, names: &Names) {
    if summary.scheduled == 0 {
        return;
    }
    let both = summary.delivered.min(summary.acknowledged);
    checks.push(exact(names.arrived, summary.scheduled, both));
    checks.push(exact(names.lost, 0, summary.lost));
    checks.push(exact(names.duplicates, 0, summary.duplicates));
    checks.push(exact(names.reordered, 0, summary.reordered));
    checks.push(exact(names.strange, 0, summary.strange));
    if summary.echoed > 0 {
        checks.push(exact(
            "own messages sent back in spite of no-local",
            0,
            summary.echoed,
        ));
    }
}

fn exact(name: &'static str, wanted: u64, found: u64) -> Check {
    Check {
        name,
        wanted: wanted.to_string(),
        found: found.to_string(),
        passed: wanted == found,
    }
}

fn limit(checks: &mut Vec<Check>, name: &'static str, limit_ms: Option<u64>, latency: &Latency) {
    let Some(limit_ms) = limit_ms else { return };
    // Nothing measured: the counts above say so already.
    if latency.count == 0 {
        return;
    }
    checks.push(Check {
        name,
        wanted: format!("at most {limit_ms} ms"),
        found: super::text::duration(latency.p99_us),
        passed: latency.p99_us <= limit_ms.saturating_mul(1_000),
    });
}
