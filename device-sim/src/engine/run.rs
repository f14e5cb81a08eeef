//! The order of a run: watcher and controller first, then the fleet when it is due, then the proof.

use std::sync::Arc;
use std::time::Duration;

use keygate_protocol::login::Binding;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use super::channel::Door;
use super::control::Control;
use super::controller::News;
use super::crew::Crew;
use super::error::RunError;
use super::fleet::{self, Field};
use super::gateway::gateway;
use super::impostor::impostor;
use super::progress::{Phase, Progress, Snapshot};
use super::recorder::Shared;
use super::streams::total;
use super::system;
use super::watcher::Watcher;
use crate::clock::{Clock, Micros};
use crate::identity::{Cast, Member};
use crate::payload::RunTag;
use crate::random::fresh;
use crate::report::{Process, Report, checks};
use crate::scenario::{Login, Scenario, check};
use crate::session::Profile;
use crate::target::Target;

/// Between "all is ready" and the first arrival: time to start what waits for it.
const HEAD_START_US: u64 = 50_000;

/// How often progress is told.
const TELL_MS: u64 = 200;

/// How long saying goodbye may take.
const GOODBYE_S: u64 = 10;

/// What to run, against whom.
#[derive(Clone, Debug)]
pub struct Plan {
    scenario: Scenario,
    target: Target,
}

impl Plan {
    /// Checks that the two go together.
    ///
    /// # Errors
    /// When the scenario makes no sense, or needs something that the target does not have.
    pub fn new(scenario: Scenario, target: Target) -> Result<Self, RunError> {
        check(&scenario)?;
        if scenario.gateways.count > 0 && target.coap.is_none() {
            return Err(RunError::NoCoap);
        }
        if scenario.gateways.count > 0 && target.identity_key.is_none() {
            return Err(RunError::NoIdentityKey);
        }
        Ok(Self { scenario, target })
    }

    /// What to run.
    #[must_use]
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The options that make the same fleet again.
    fn options(&self) -> String {
        let Scenario {
            name,
            fleet,
            gateways,
            ..
        } = &self.scenario;
        let source = match crate::scenario::builtin_text(name) {
            Ok(_) => format!("--builtin {name}"),
            Err(_) => format!("{name}.toml"),
        };
        let seed = quoted(&fleet.seed);
        let login = match fleet.login {
            Login::KgEd25519 => "",
            Login::Password => " --login password",
        };
        format!(
            "{source} --devices {} --seed {seed} --prefix {} --gateways {}{login}",
            fleet.devices, fleet.prefix, gateways.count
        )
    }

    fn enrol_command(&self) -> String {
        format!("device-sim enrol {}", self.options())
    }
}

fn quoted(seed: &str) -> String {
    if seed
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        seed.to_owned()
    } else {
        format!("'{}'", seed.replace('\'', r"'\''"))
    }
}

/// Everything that is under way.
struct Running {
    field: Arc<Field>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    origin: Micros,
}

/// Makes a run and says what it found. Needs a tokio runtime with I/O and time; one thread does.
///
/// # Errors
/// When the run could not be made. A broker that misbehaves is no error but a [report](Report) that did not pass.
pub async fn run(plan: Plan, progress: &mut dyn Progress) -> Result<Report, RunError> {
    let scenario = &plan.scenario;
    let members = u64::from(scenario.fleet.devices) + u64::from(scenario.gateways.count);
    system::allow_files(members)
        .map_err(|(needed, allowed)| RunError::TooFewFiles { needed, allowed })?;
    let before = Process {
        resident_before_kib: system::resident_kib(),
        resident_full_kib: 0,
        cpu_ms: system::cpu_ms(),
    };
    progress.update(&Snapshot {
        devices: scenario.fleet.devices,
        ..Snapshot::default()
    });

    let running = prepare(&plan).await?;
    let shared = Arc::clone(&running.field.shared);
    follow(&plan, &running, progress).await;
    let elapsed_us = shared.clock.now().since(running.origin);
    let process = Process {
        resident_full_kib: system::resident_kib(),
        cpu_ms: system::cpu_ms().saturating_sub(before.cpu_ms),
        ..before
    };

    // What the goodbyes cause is nobody's failure: the numbers are taken before.
    let report = report(&plan, &running, elapsed_us, process);
    progress.update(&snapshot(&running, &plan, Phase::Closing));
    close(running).await;
    Ok(report)
}

/// Starts everybody.
async fn prepare(plan: &Plan) -> Result<Running, RunError> {
    let Plan { scenario, target } = plan;
    let enrol = plan.enrol_command();
    let cast = Cast::new(&scenario.fleet.seed, &scenario.fleet.prefix);
    let clock = Clock::start();
    let shared = Shared::new(clock, scenario);
    let tag = RunTag::new(fresh()?);
    let profile = Arc::new(Profile {
        broker_id: target.broker_id.clone(),
        identity_key: target.identity_key,
        keep_alive_s: scenario.fleet.keep_alive_s,
        session_expiry_s: scenario.fleet.session_expiry_s,
        binding: target.binding(),
    });
    let mqtt = Door::of(target);
    let (stop, stopped) = watch::channel(false);
    // Two words about each device, and the start: nobody who tells ever waits.
    let room = usize::try_from(scenario.fleet.devices).unwrap_or(0) * 2 + 1;
    let (news, heard) = mpsc::channel(room);
    let mut tasks = JoinSet::new();

    let watcher = Watcher::start(target, &mqtt, clock, scenario, &cast, &enrol).await?;
    let (ready, is_ready) = oneshot::channel();
    let control = Control {
        profile: Arc::clone(&profile),
        cast,
        login: scenario.fleet.login,
        mqtt: mqtt.clone(),
        shared: Arc::clone(&shared),
    };
    tasks.spawn(control.run(heard, stopped.clone(), ready));
    let id = Cast::new(&scenario.fleet.seed, &scenario.fleet.prefix).id(Member::Controller);
    match is_ready.await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => return Err(RunError::of_helper(&id, target.mqtt, &enrol, &failure)),
        Err(_) => {
            return Err(RunError::NotReady {
                id,
                reason: "its task ended".to_owned(),
                advice: None,
            });
        }
    }

    let origin = clock.now().plus(HEAD_START_US);
    let crew = Arc::new(Crew::new(scenario, profile, tag, origin));
    // The queue is empty: there is room.
    let _ = news.try_send(News::Start(Arc::clone(&crew)));
    let field = Arc::new(Field {
        crew,
        shared,
        mqtt,
        news,
        stop: stopped,
    });
    tasks.spawn({
        let field = Arc::clone(&field);
        async move { watcher.watch(&field).await }
    });
    tasks.spawn(fleet::arrive(Arc::clone(&field)));
    if let Some(coap) = target.coap {
        for index in 0..scenario.gateways.count {
            tasks.spawn(gateway(
                Arc::clone(&field),
                coap,
                index,
                scenario.gateways.tokens,
            ));
        }
    }
    for index in 0..scenario.impostors.count {
        tasks.spawn(impostor(Arc::clone(&field), index));
    }
    Ok(Running {
        field,
        tasks,
        stop,
        origin,
    })
}

/// Waits until nothing more is to come, or for as long as the scenario allows, and tells how it goes.
async fn follow(plan: &Plan, running: &Running, progress: &mut dyn Progress) {
    let shared = &running.field.shared;
    let schedule = &running.field.crew.schedule;
    let deadline = schedule
        .end()
        .plus(Micros::from_secs(plan.scenario.run.grace_s).0);
    let mut tell = interval(Duration::from_millis(TELL_MS));
    tell.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shared.completed() => return,
            () = sleep_until(shared.clock.instant(deadline)) => return,
            _ = tell.tick() => {
                let now = shared.clock.now();
                let phase = match () {
                    () if now < schedule.arrivals_end() => Phase::Arriving,
                    () if now < schedule.end() => Phase::Running,
                    () => Phase::Settling,
                };
                progress.update(&snapshot(running, plan, phase));
            }
        }
    }
}

fn snapshot(running: &Running, plan: &Plan, phase: Phase) -> Snapshot {
    let field = &running.field;
    let snapshot = field
        .shared
        .record(|recorder| recorder.snapshot(plan.scenario.fleet.devices));
    Snapshot {
        phase,
        elapsed_ms: field.shared.clock.now().since(running.origin) / 1_000,
        end_ms: field.crew.schedule.end().since(running.origin) / 1_000,
        ..snapshot
    }
}

/// Everybody says goodbye; nobody is waited for longer than a goodbye may take.
async fn close(mut running: Running) {
    let _ = running.stop.send(true);
    let all = async { while running.tasks.join_next().await.is_some() {} };
    let _ = timeout(Duration::from_secs(GOODBYE_S), all).await;
}

fn report(plan: &Plan, running: &Running, elapsed_us: u64, process: Process) -> Report {
    let Plan { scenario, target } = plan;
    running.field.shared.record(|recorder| {
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            scenario: scenario.name.clone(),
            summary: scenario.summary.clone(),
            seed: scenario.fleet.seed.clone(),
            devices: scenario.fleet.devices,
            rate_per_s: scenario.arrivals.rate_per_s,
            mqtt: target.url(),
            coap: target.coap.map(|address| address.to_string()),
            bound: target.binding() == Binding::Exporter
                && scenario.fleet.login == Login::KgEd25519,
            broker_id: target.broker_id.clone(),
            command: format!(
                "device-sim run {} --rate {} --duration {} --target -{}",
                plan.options(),
                scenario.arrivals.rate_per_s,
                scenario.run.duration_s,
                if target.tls.is_some() { " --tls" } else { "" }
            ),
            elapsed_ms: elapsed_us / 1_000,
            passed: false,
            login: scenario.fleet.login,
            logins: recorder.logins,
            reports: recorder.reports.summary(),
            desired: recorder.desired.summary(),
            streams: recorder.streams.reports(),
            tokens: recorder.tokens,
            impostors: recorder.impostors.clone(),
            latency: recorder.timings.latencies(),
            refusals: recorder.refusals.clone(),
            errors: recorder.errors(),
            checks: Vec::new(),
            process,
        };
        let pinned = target.identity_key.is_some() && scenario.fleet.login == Login::KgEd25519;
        report.checks = checks(&report, scenario, &total(&report.streams), pinned);
        report.passed = report.checks.iter().all(|check| check.passed);
        report
    })
}
