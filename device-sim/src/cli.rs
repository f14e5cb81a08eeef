//! The command line: every option with its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Drives a fleet of simulated devices against a broker and proves that nothing was lost.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
The whole thing in four lines (`keygate serve` goes on until Ctrl-C):
  keygate init
  device-sim enrol --devices 500 --seed lab | keygate device import -
  keygate serve | device-sim run --builtin smoke --devices 500 --seed lab --target -
  echo $?      0 all as it should be, 1 could not run, 2 wrong use, 3 something was missed

Keys derive from --seed and the device's number; nothing is stored. The same seed gives the same devices, the same
schedule and the same jitter. Latencies count from the instant at which a thing was due (open loop), so a stall of the
broker shows in everything that it delayed.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a scenario and reports.
    ///
    /// Devices log in with kg-ed25519, each from an address of its own when the target is on loopback
    /// (127.1.1.1, 127.1.1.2, …; gateways from 127.101.…, impostors from 127.201.…), subscribe to devices/{id}/#,
    /// publish to devices/{id}/reported at QoS 1, and receive what a controller publishes to devices/{id}/desired.
    /// With `--login password` they log in with user names and passwords instead, so that the same fleet, schedule and
    /// messages run against any MQTT 5 broker.
    /// A watcher (rumqttc, with a signed assertion as password) must receive every acknowledged report, once and in
    /// order. Gateways fetch tokens over CoAP. Impostors must be refused.
    ///
    /// Over TLS (mqtts://, or --tls) everybody speaks TLS 1.3, trusts the certificates of --ca alone, and resumes no
    /// session: every login pays for a whole handshake. Logins with keys are bound to their channel.
    #[command(after_help = EXIT_CODES)]
    Run(Run),
    /// Prints what a run with the same options needs enrolled, as JSON Lines for `keygate device import -`.
    ///
    /// That is the devices (dev-000000 …), the gateways (gw-000000 …), the watcher and the controller (sim-watcher and
    /// sim-controller, role `operator`). With another --prefix P they are P-000000, P-gw-000000, P-watcher and
    /// P-controller, so that several fleets can share a broker.
    ///
    /// With `--login password` it prints `id:password` lines instead, which `mosquitto_passwd -U` hashes in place.
    Enrol(Enrol),
    /// Prints a built-in scenario, as a start for your own; without a name, lists them.
    Scenario {
        /// Which.
        name: Option<String>,
    },
}

const EXIT_CODES: &str =
    "Exit codes: 0 all as it should be, 1 could not run, 2 wrong use, 3 something was missed";

/// Which fleet: the same for `run` and `enrol`, so that they match.
#[derive(Args, Debug)]
pub(crate) struct Fleet {
    /// A scenario file; see `device-sim scenario smoke` for the language.
    #[arg(value_name = "SCENARIO.toml", conflicts_with = "builtin")]
    pub(crate) file: Option<PathBuf>,
    /// A built-in scenario.
    #[arg(long, value_name = "NAME")]
    pub(crate) builtin: Option<String>,
    /// How many devices.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) devices: Option<u32>,
    /// What all keys and the schedule derive from.
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) seed: Option<String>,
    /// How the ids of this fleet begin.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// How many gateways.
    #[arg(long, value_name = "N")]
    pub(crate) gateways: Option<u32>,
    /// How everybody logs in: with keys, or with user names and passwords, which any MQTT 5 broker takes.
    #[arg(long, value_name = "METHOD", value_enum)]
    pub(crate) login: Option<Method>,
}

/// `--login`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Method {
    /// Keygate's challenge and response with each device's key.
    KgEd25519,
    /// User name (the id) and password (from the seed).
    Password,
}

/// `--binding`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum BindTo {
    /// Nothing: the proof is good on any connection.
    None,
    /// The TLS channel, by its exporter: the proof is good on no other.
    Exporter,
}

/// `run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) fleet: Fleet,
    /// Logins a second.
    #[arg(long, value_name = "LOGINS/S")]
    pub(crate) rate: Option<f64>,
    /// How long each device keeps reporting, seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,
    /// How many impostors.
    #[arg(long, value_name = "N")]
    pub(crate) impostors: Option<u32>,
    /// `-` reads the ready line of `keygate serve` from standard input; otherwise as --mqtt.
    #[arg(long, value_name = "-|URL")]
    pub(crate) target: Option<String>,
    /// Where MQTT is: HOST:PORT, mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS [default: 127.0.0.1:1883].
    #[arg(long, value_name = "URL")]
    pub(crate) mqtt: Option<String>,
    /// The CA certificates that vouch for the broker (PEM); mqtts:// needs it, and nothing else is trusted.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// MQTT over TLS: takes the address and the CA from the ready line of `--target -`.
    #[arg(long, requires = "target", conflicts_with = "mqtt")]
    pub(crate) tls: bool,
    /// What a login with a key is bound to [default: exporter over TLS, none otherwise].
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) binding: Option<BindTo>,
    /// Where CoAP is.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) coap: Option<String>,
    /// What the broker is called; devices refuse any other.
    #[arg(long, value_name = "ID")]
    pub(crate) broker_id: Option<String>,
    /// The broker's identity key; with it the broker must prove itself to every device.
    #[arg(long, value_name = "HEX")]
    pub(crate) identity_key: Option<String>,
    /// Write report.json and report.txt there.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Print the report as JSON instead of as a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress while it runs.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// `enrol`.
#[derive(Args, Debug)]
pub(crate) struct Enrol {
    #[command(flatten)]
    pub(crate) fleet: Fleet,
    /// A role of the devices and gateways; may be repeated [default: device].
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
    /// A group of the devices; may be repeated.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
    /// Print the devices only: no gateways, watcher or controller.
    #[arg(long)]
    pub(crate) devices_only: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_lines_parse() {
        for line in [
            "device-sim run --builtin smoke --devices 500 --seed lab --target -",
            "device-sim run my.toml --mqtt mqtt://127.0.0.1:1883 --coap 127.0.0.1:5683 --broker-id kg-7f3a9c --json",
            "device-sim run --builtin smoke --rate 1000 --duration 10 --report out --quiet",
            "device-sim enrol --devices 500 --seed lab --role device --role lamp --group hall",
            "device-sim scenario smoke",
            "device-sim enrol --builtin load --login password",
            "device-sim run --builtin load --login password --mqtt 127.0.0.1:1883",
            "device-sim run --builtin smoke --login kg-ed25519 --target -",
            "device-sim run --mqtt mqtts://localhost:8883 --ca ca.pem --broker-id kg --binding none",
            "device-sim run --builtin smoke --target - --tls",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "device-sim run a.toml --builtin smoke",
            "device-sim run --tls",
            "device-sim run --target - --tls --mqtt mqtts://localhost",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
