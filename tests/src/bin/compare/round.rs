//! One broker, one fleet, one run.
use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result, bail, ensure};
use device_sim::engine::{Phase, Progress, Snapshot};
use device_sim::enrol::{Grants, lines, password_lines};
use device_sim::scenario::{Login, Scenario, builtin};
use device_sim::target::Hints;
use device_sim::{Plan, run as simulate};
use keygate_tests::measure::{Kind, People, Server, Usage, median};
use serde::Serialize;

/// Devices that log in and leave before anything is measured: code, pools and tables are then in memory.
const WARM_UP: u32 = 200;
/// What the fleet may take to log in before the first message: so much, and so much for each device.
const REST_MS: u64 = 4_000;
const LOGIN_MS: u64 = 1;
/// The same with a TLS handshake, which costs the simulator time as well.
const LOGIN_TLS_MS: u64 = 4;
/// The phases follow each other in these steps; each ends a second before the next begins.
const PHASE_MS: u64 = 5_000;
/// How long sessions outlive their connections in the durable cases.
const EXPIRY_S: u32 = 3_600;

/// The phases of the scenario `load`.
pub(crate) const PHASES: usize = 3;
/// How many of them are run over TLS: one to one.
pub(crate) const PHASES_OVER_TLS: usize = 1;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    /// Over TLS 1.3.
    pub(crate) tls: bool,
    /// Sessions that the broker must keep.
    pub(crate) durable: bool,
    pub(crate) connections: u32,
}

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sessions = if self.durable { "persistent" } else { "clean" };
        write!(
            f,
            "{}, {} connections{}, {sessions} sessions",
            self.kind.name(),
            self.connections,
            if self.tls { " over TLS 1.3" } else { "" }
        )
    }
}

/// What it cost the broker.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    /// Processor time of a login with its subscription, µs.
    pub(crate) login_us: f64,
    /// Logins with subscription a second, with 32 under way and the simulator on the same machine.
    pub(crate) logins_s: f64,
    /// Resident memory of an idle connection with one subscription, bytes.
    pub(crate) connection_bytes: f64,
    /// Processor time of the whole broker at rest, ms a second.
    pub(crate) rest_ms_s: f64,
    /// Processor time of a QoS 1 message from PUBLISH to the reader's PUBACK, µs, by phase; not a number if that was not
    /// run.
    pub(crate) message_us: [f64; PHASES],
    /// From the instant at which a single message was due to its PUBACK, 99th percentile, ms.
    pub(crate) ack_p99_ms: f64,
}

impl Figures {
    /// Each figure's median.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let mut message_us = [f64::NAN; PHASES];
        for (phase, us) in message_us.iter_mut().enumerate() {
            *us = median(rounds, |round| {
                round.message_us.get(phase).copied().unwrap_or(f64::NAN)
            });
        }
        Self {
            login_us: median(rounds, |round| round.login_us),
            logins_s: median(rounds, |round| round.logins_s),
            connection_bytes: median(rounds, |round| round.connection_bytes),
            rest_ms_s: median(rounds, |round| round.rest_ms_s),
            message_us,
            ack_p99_ms: median(rounds, |round| round.ack_p99_ms),
        }
    }
}

/// Starts the broker, runs the fleet on it, and says what that cost.
pub(crate) fn run(case: &Case, shards: usize) -> Result<Figures> {
    let warm_up = warm_up(case)?;
    let scenario = load(case)?;
    let both = [&warm_up, &scenario];
    let people = People {
        keys: text(
            both.iter()
                .flat_map(|fleet| lines(fleet, &Grants::default())),
        ),
        passwords: text(both.iter().flat_map(|fleet| password_lines(fleet))),
    };
    let server = if case.tls {
        Server::start_over_tls(case.kind, &people, shards)?
    } else {
        Server::start(case.kind, &people, shards)?
    };
    let scheme = if case.tls { "mqtts" } else { "mqtt" };
    let hints = Hints {
        mqtt: Some(format!("{scheme}://{}", server.address)),
        ca: server.ca.clone(),
        broker_id: Some(server.broker_id.clone()).filter(|id| !id.is_empty()),
        ..Hints::default()
    };
    let mut meter = Meter::new(server.pid());
    drive(warm_up, &hints, &mut |_: &Snapshot| {})?;
    server.settle()?;
    let seen = drive(scenario.clone(), &hints, &mut meter)?;
    meter.figures(&scenario, &seen)
}

fn text(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

fn login(kind: Kind) -> Login {
    match kind {
        Kind::Floor | Kind::Keygate => Login::KgEd25519,
        Kind::Mosquitto | Kind::MosquittoSaving => Login::Password,
    }
}

fn warm_up(case: &Case) -> Result<Scenario> {
    let mut scenario = builtin("load")?;
    scenario.fleet.devices = WARM_UP;
    scenario.fleet.seed = "warm-up".into();
    scenario.fleet.prefix = "warm".into();
    scenario.fleet.login = login(case.kind);
    for stream in &mut scenario.streams {
        stream.senders = WARM_UP / 2;
        stream.count = stream.burst;
        stream.interval_ms = 200;
        stream.start_ms = 1_000;
    }
    Ok(scenario)
}

fn load(case: &Case) -> Result<Scenario> {
    let mut scenario = builtin("load")?;
    scenario.fleet.devices = case.connections;
    scenario.fleet.login = login(case.kind);
    scenario.fleet.session_expiry_s = if case.durable { EXPIRY_S } else { 0 };
    let login_ms = if case.tls { LOGIN_TLS_MS } else { LOGIN_MS };
    let first_ms = REST_MS + login_ms * u64::from(case.connections);
    let starts = (first_ms..).step_by(usize::try_from(PHASE_MS)?);
    for (start_ms, stream) in starts.zip(&mut scenario.streams) {
        ensure!(
            stream.span_ms() < PHASE_MS,
            "the phase {:?} is too long",
            stream.name
        );
        stream.start_ms = start_ms;
    }
    ensure!(
        scenario.streams.len() == PHASES,
        "the scenario has other phases than this program knows"
    );
    // With 6,000 connections over TLS Mosquitto 2.0.11 dropped most of what 500 sent to one reader. What TLS costs a
    // message shows where each has a reader of its own.
    if case.tls {
        scenario.streams.truncate(PHASES_OVER_TLS);
    }
    Ok(scenario)
}

/// What the simulator found that the broker's process does not show.
struct Seen {
    ready_max_us: u64,
    ack_p99_us: u64,
}

/// Runs a fleet; a run with a single fault measures nothing.
fn drive(scenario: Scenario, hints: &Hints, progress: &mut dyn Progress) -> Result<Seen> {
    let target = match scenario.fleet.login {
        Login::KgEd25519 => hints.clone().resolve()?,
        Login::Password => hints.clone().resolve_unnamed()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(simulate(Plan::new(scenario, target)?, progress))?;
    ensure!(report.passed, "the run was not clean:\n{report}");
    let single = report.streams.first().context("a stream")?;
    Ok(Seen {
        ready_max_us: report.latency.ready.max_us,
        ack_p99_us: single.ack.p99_us,
    })
}

/// Looks at the broker's process whenever the run tells something.
struct Meter {
    pid: u32,
    looks: Vec<Look>,
}

struct Look {
    snapshot: Snapshot,
    usage: Usage,
}

impl Progress for Meter {
    fn update(&mut self, snapshot: &Snapshot) {
        // A broker that is gone shows in the run, which then is not clean.
        if snapshot.phase != Phase::Preparing
            && let Ok(usage) = Usage::of(self.pid)
        {
            self.looks.push(Look {
                snapshot: *snapshot,
                usage,
            });
        }
    }
}

impl Meter {
    fn new(pid: u32) -> Self {
        Self {
            pid,
            looks: Vec::new(),
        }
    }

    fn figures(&self, scenario: &Scenario, seen: &Seen) -> Result<Figures> {
        let devices = u64::from(scenario.fleet.devices);
        let count = f64::from(scenario.fleet.devices);
        let first = self.looks.first().context("nobody looked")?;
        let online = self
            .looks
            .iter()
            .find(|look| look.snapshot.logins.subscribed == devices)
            .context("the fleet was never complete")?;
        let start_ms = |phase: usize| {
            let stream = scenario.streams.get(phase);
            stream.map_or(u64::MAX, |stream| stream.start_ms)
        };
        let rested = self.before(start_ms(0))?;
        let rest_ms =
            rested.snapshot.elapsed_ms - online.snapshot.elapsed_ms.min(rested.snapshot.elapsed_ms);
        if rested.snapshot.logins.subscribed < devices || rest_ms < 500 {
            bail!("the fleet was not online in time: is the machine busy?");
        }

        let mut message_us = [f64::NAN; PHASES];
        let mut sent = 0;
        for (phase, (us, stream)) in message_us.iter_mut().zip(&scenario.streams).enumerate() {
            let begin = self.before(start_ms(phase))?;
            let end = self.before(start_ms(phase + 1))?;
            let messages = u64::from(stream.senders) * u64::from(stream.count);
            ensure!(
                begin.snapshot.streams_delivered == sent
                    && end.snapshot.streams_delivered == sent + messages,
                "the phase {:?} ran into the next: is the machine busy?",
                stream.name
            );
            sent += messages;
            *us = end.usage.cpu_us_since(&begin.usage) / messages as f64;
        }
        Ok(Figures {
            login_us: online.usage.cpu_us_since(&first.usage) / count,
            logins_s: count * 1e6 / seen.ready_max_us as f64,
            connection_bytes: rested.usage.bytes_since(&first.usage) / count,
            rest_ms_s: rested.usage.cpu_us_since(&online.usage) / rest_ms as f64,
            message_us,
            ack_p99_ms: seen.ack_p99_us as f64 / 1e3,
        })
    }

    /// The last look before a point of the run.
    fn before(&self, at_ms: u64) -> Result<&Look> {
        let mut looks = self.looks.iter().rev();
        looks
            .find(|look| look.snapshot.elapsed_ms < at_ms)
            .context("nobody looked")
    }
}
