//! The command line.
use keygate_tests::measure::Kind;

use crate::round::Case;

pub(crate) const USAGE: &str = "\
usage: cargo compare [--quick] [--rounds N] [--connections N[,N…]] [--shards N] [--tls] [--check] [--json]

  --quick          one round at 1,000 connections: two minutes instead of twenty
  --rounds N       medians of so many [default: 3]
  --connections N  how many connections, at least 1000 and at most 18000 [default: 1000,10000,18000]
  --shards N       shards of Keygate [default: one a core]; Mosquitto has one thread
  --tls            only what is over TLS
  --check          exit with 3 if a budget is missed
  --json           print JSON

Needs Mosquitto: apt-get install mosquitto";

/// A fleet needs this many: 500 of them send, each to a partner.
const CONNECTIONS_MIN: u32 = 1_000;
/// A process may open 20,000 files.
const CONNECTIONS_MAX: u32 = 18_000;
/// The largest fleet whose sessions are stored, and the largest over TLS.
const DURABLE_MAX: u32 = 10_000;
const TLS_MAX: u32 = 10_000;
/// More than the cores of any machine that this is for.
const SHARDS_MAX: usize = 64;

/// What to measure, how often, and what to do with it.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) connections: Vec<u32>,
    /// Keygate's; 0 is one a core.
    pub(crate) shards: usize,
    /// Only over TLS.
    pub(crate) tls_only: bool,
    pub(crate) check: bool,
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn of(args: &[String]) -> Result<Self, String> {
        let mut options = Self {
            rounds: 3,
            connections: vec![1_000, 10_000, 18_000],
            shards: 0,
            tls_only: false,
            check: false,
            json: false,
        };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg {
                "--quick" => {
                    options.rounds = 1;
                    options.connections = vec![1_000];
                }
                "--tls" => options.tls_only = true,
                "--check" => options.check = true,
                "--json" => options.json = true,
                "--rounds" => {
                    let rounds = args.next().and_then(|text| text.parse().ok());
                    options.rounds = rounds
                        .filter(|rounds| (1..=99).contains(rounds))
                        .ok_or("--rounds takes a number from 1 to 99")?;
                }
                "--shards" => {
                    let shards = args.next().and_then(|text| text.parse().ok());
                    options.shards = shards
                        .filter(|shards| (1..=SHARDS_MAX).contains(shards))
                        .ok_or_else(|| format!("--shards takes a number from 1 to {SHARDS_MAX}"))?;
                }
                "--connections" => {
                    let text = args.next().ok_or("--connections takes a number")?;
                    options.connections =
                        text.split(',').map(connections).collect::<Result<_, _>>()?;
                }
                other => return Err(format!("unknown option {other:?}")),
            }
        }
        if options.cases().is_empty() {
            return Err(format!("--tls measures at most {TLS_MAX} connections"));
        }
        Ok(options)
    }

    /// Everything that a round measures, in turn. Both brokers come one right after the other, so that what else the
    /// machine does meets both.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &connections in &self.connections {
            for (durable, kinds) in [
                (false, [Kind::Keygate, Kind::Mosquitto]),
                (true, [Kind::Keygate, Kind::MosquittoSaving]),
            ] {
                // What durability costs does not depend on idle connections: the largest fleet is measured once.
                if self.tls_only || durable && connections > DURABLE_MAX {
                    continue;
                }
                cases.extend(kinds.map(|kind| Case {
                    kind,
                    tls: false,
                    durable,
                    connections,
                }));
            }
        }
        // What TLS adds does not depend on what is stored, nor on more connections than these.
        let few = |connections: &&u32| **connections <= TLS_MAX;
        for &connections in self.connections.iter().filter(few) {
            cases.extend([Kind::Keygate, Kind::Mosquitto].map(|kind| Case {
                kind,
                tls: true,
                durable: false,
                connections,
            }));
        }
        cases
    }
}

fn connections(text: &str) -> Result<u32, String> {
    let allowed = CONNECTIONS_MIN..=CONNECTIONS_MAX;
    let number = text.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| {
        format!("--connections takes numbers from {CONNECTIONS_MIN} to {CONNECTIONS_MAX}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Options, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::of(&args)
    }

    #[test]
    fn both_brokers_are_measured_side_by_side() {
        let cases = of("--connections 1000,18000").expect("good").cases();
        let kinds: Vec<Kind> = cases.iter().map(|case| case.kind).collect();
        use Kind::{Keygate, Mosquitto, MosquittoSaving};
        assert_eq!(
            kinds,
            [
                Keygate,
                Mosquitto,
                Keygate,
                MosquittoSaving,
                Keygate,
                Mosquitto,
                Keygate,
                Mosquitto
            ]
        );
        let over_tls: Vec<u32> = cases
            .iter()
            .filter(|case| case.tls)
            .map(|case| case.connections)
            .collect();
        assert_eq!(over_tls, [1_000, 1_000]);
    }

    #[test]
    fn tls_can_be_measured_alone() {
        let cases = of("--tls").expect("good").cases();
        let all: Vec<(Kind, bool, u32)> = cases
            .iter()
            .map(|case| (case.kind, case.tls, case.connections))
            .collect();
        assert_eq!(
            all,
            [
                (Kind::Keygate, true, 1_000),
                (Kind::Mosquitto, true, 1_000),
                (Kind::Keygate, true, 10_000),
                (Kind::Mosquitto, true, 10_000),
            ]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--fast",
            "--rounds",
            "--rounds 0",
            "--connections 999",
            "--connections 18001",
            "--connections x",
            "--shards 0",
            "--shards 65",
            "--tls --connections 18000",
        ] {
            assert!(of(line).is_err(), "{line}");
        }
        assert_eq!(of("--quick").expect("good").rounds, 1);
        assert_eq!(of("--shards 1").expect("good").shards, 1);
    }
}
