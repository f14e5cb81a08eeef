//! Runs every case, many at a time: most of their time is waiting.
use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use keygate_protocol::mqtt::Version;
use keygate_tests::clock::Stopwatch;
use keygate_tests::net::raise_file_limit;

use super::CHAPTERS;
use super::case::Case;
use super::stage::Stage;
use super::statements::ids_of;

/// Runs only the cases whose name (`chapter::case`) contains this.
const ONLY: &str = "KEYGATE_CONFORMANCE_CASE";
/// Cases at a time.
const AT_A_TIME: usize = 48;

pub(super) struct Job {
    pub(super) name: String,
    pub(super) version: Version,
    case: Case,
    source: &'static str,
}

pub(super) enum Outcome {
    Kept(Duration),
    /// The broker that it needs is not there.
    LeftOut,
    Broken(String),
}

#[test]
fn every_statement_is_kept() {
    let (stage, clock) = (Stage::set(), Stopwatch::start());
    report(run_on(&stage, |_| true), clock.elapsed());
}

/// Runs the cases that are wanted on these brokers.
pub(super) fn run_on(stage: &Stage, wanted: impl Fn(&Job) -> bool) -> Vec<(Job, Outcome)> {
    raise_file_limit();
    let mut jobs = jobs();
    jobs.retain(wanted);
    assert!(!jobs.is_empty(), "no case has such a name");
    let all = jobs.len();
    // Those that let time pass begin first; the others run meanwhile.
    jobs.sort_by_key(|job| !job.case.waits);
    let queue = Mutex::new(VecDeque::from(jobs));
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    // Not in the head of the loop, where the lock would be held all through its body.
                    let next = locked(&queue).pop_front();
                    let Some(job) = next else { break };
                    let outcome = run(stage, &job);
                    locked(&done).push((job, outcome));
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(done.len(), all);
    done
}

/// Says how it went; fails when a promise was broken.
#[expect(clippy::print_stdout, reason = "what a suite has to say")]
fn report(done: Vec<(Job, Outcome)>, took: Duration) {
    let mut broken = Vec::new();
    let mut left_out = 0;
    let mut slowest: Vec<(Duration, String)> = Vec::new();
    let all = done.len();
    for (job, outcome) in done {
        let version = words(job.version);
        match outcome {
            Outcome::Kept(took) => slowest.push((took, format!("{} ({version})", job.name))),
            Outcome::LeftOut => left_out += 1,
            Outcome::Broken(why) => {
                let ids = ids_of(job.source, job.case.name, job.version).join(" ");
                broken.push(format!("{} ({version}: {ids})\n    {why}", job.name));
            }
        }
    }
    slowest.sort();
    for (took, name) in slowest.iter().rev().take(5) {
        println!("{:6.2} s {name}", took.as_secs_f32());
    }
    println!(
        "{all} cases in {:.1} s: {} kept, {} broken, {left_out} left out (their broker is not there)",
        took.as_secs_f32(),
        slowest.len(),
        broken.len(),
    );
    broken.sort();
    assert!(broken.is_empty(), "broken:\n{}", broken.join("\n"));
}

pub(super) fn jobs() -> Vec<Job> {
    let only = std::env::var(ONLY).unwrap_or_default();
    let mut jobs = Vec::new();
    for chapter in CHAPTERS {
        for case in chapter.cases {
            let name = format!("{}::{}", chapter.name, case.name);
            if !name.contains(&only) {
                continue;
            }
            jobs.extend(case.versions.iter().map(|version| Job {
                name: name.clone(),
                version: *version,
                case: *case,
                source: chapter.source,
            }));
        }
    }
    jobs
}

/// Runs one in a thread that has its name, so that a panic says whose it is.
fn run(stage: &Stage, job: &Job) -> Outcome {
    let Some(target) = stage.target(&job.case, job.version) else {
        return Outcome::LeftOut;
    };
    let clock = Stopwatch::start();
    let body = job.case.run;
    let thread = thread::Builder::new()
        .name(format!("{} ({})", job.name, words(job.version)))
        .spawn(move || body(&target))
        .expect("a thread");
    match thread.join() {
        Ok(()) => Outcome::Kept(clock.elapsed()),
        Err(panic) => Outcome::Broken(message(panic.as_ref())),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
    text.unwrap_or_else(|| "it panicked".into())
}

pub(super) fn words(version: Version) -> &'static str {
    match version {
        Version::V311 => "3.1.1",
        Version::V5 => "5",
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
