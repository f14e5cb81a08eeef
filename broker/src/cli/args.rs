//! What the command line looks like: every command and flag, with its help.

use crate::config::{Engine, parse_address};
use crate::identity::DeviceState;
use clap::{Args, Parser, Subcommand, ValueEnum};
use keygate_protocol::ident::Id;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An authenticator for machines: devices prove a key and are on MQTT, gateways get tokens over CoAP.
#[derive(Debug, Parser)]
#[command(
    name = "keygate",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong use.\n\nStart with `keygate serve`; it \
                  makes the data directory. Then `keygate device add ID --generate FILE`."
)]
pub(super) struct Cli {
    /// The data directory
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "KEYGATE_DATA",
        hide_env_values = true,
        default_value = "./keygate-data",
        value_name = "DIR"
    )]
    pub(super) data: PathBuf,

    /// Print JSON: one line a result, errors on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) json: bool,

    /// Log to standard error: error, warn, info, debug, trace, or a list of MODULE=LEVEL
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "KEYGATE_LOG",
        hide_env_values = true,
        value_name = "LEVEL"
    )]
    pub(super) log: Option<String>,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the broker; prints one JSON line when every listener accepts
    Serve(ServeArgs),
    /// Make a data directory: the broker's name and its keys
    Init(InitArgs),
    /// Enrol devices and change them; acts at once on a running broker
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Print an assertion, the password of a device whose client has no AUTH
    Assert(AssertArgs),
    /// Fetch a token over CoAP, as a gateway does, and print it
    FetchToken(FetchTokenArgs),
    /// Look at tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Say why a device was refused, and what to do
    Why(WhyArgs),
    /// Say how the running broker is: its counters, and the bounds that were reached
    Status,
    /// Print the audit trail
    Audit(AuditArgs),
    /// Look at settings
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) settings: SettingsArgs,

    /// The broker's name, if the data directory is made now; never changes afterwards
    #[arg(long, value_name = "NAME", value_parser = id)]
    pub(super) broker_id: Option<String>,
}

/// The settings that have flags.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct SettingsArgs {
    /// The configuration file
    #[arg(
        long,
        env = "KEYGATE_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(super) config: Option<PathBuf>,

    /// Listen for MQTT over plain TCP; port 0 picks a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(super) mqtt: Option<SocketAddr>,

    /// Listen for MQTT over TLS; port 0 picks a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(super) mqtts: Option<SocketAddr>,

    /// Listen for MQTT over WebSocket; port 0 picks a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(super) ws: Option<SocketAddr>,

    /// Listen for MQTT over WebSocket in TLS; port 0 picks a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(super) wss: Option<SocketAddr>,

    /// The certificate chain that TLS listeners present, PEM; default: DATA/tls/server.pem
    #[arg(long, value_name = "PEM")]
    pub(super) cert: Option<PathBuf>,

    /// The private key of the certificate, PEM
    #[arg(long, value_name = "PEM")]
    pub(super) key: Option<PathBuf>,

    /// Listen for CoAP over plain UDP; port 0 picks a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(super) coap: Option<SocketAddr>,

    /// What carries the messages: this broker (hub), or another one (upstream)
    #[arg(long, value_enum)]
    pub(super) engine: Option<Engine>,

    /// The broker that sessions are relayed to: mqtt://HOST:PORT; once for each node of a cluster
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Vec<String>,

    /// Let plain listeners be reached from other machines
    #[arg(long)]
    pub(super) allow_plain: bool,
}

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The broker's name; never changes afterwards. Default: kg- and 6 characters of its identity key's thumbprint
    #[arg(long, value_name = "NAME", value_parser = id)]
    pub(super) broker_id: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// Enrol one device
    Add(AddArgs),
    /// Enrol the devices of a file in JSON Lines, all or none
    ///
    /// A line is {"id":"dev-1","public_key":"<64 hex>","roles":["device"],"groups":["g1"],"attributes":{}}; only id and
    /// public_key must be there. Lines that say what is enrolled already are counted as unchanged.
    Import {
        /// The file; - is standard input
        file: PathBuf,
    },
    /// List devices in the order of their ids
    List(ListArgs),
    /// Show one device: its state, keys, last login and last refusal
    Show(DeviceId),
    /// Lock a device out until it is resumed; its sessions end at once
    Suspend(DeviceId),
    /// Let a suspended device log in again
    Resume(DeviceId),
    /// Lock a device out for good; its sessions end at once
    Revoke(DeviceId),
}

#[derive(Args, Debug)]
pub(super) struct DeviceId {
    /// The device's id
    #[arg(value_parser = id)]
    pub(super) id: String,
}

#[derive(Args, Debug)]
pub(super) struct AddArgs {
    /// Its id: 1 to 64 of A-Z a-z 0-9 . _ - : and the first a letter or digit
    #[arg(value_parser = id)]
    pub(super) id: String,

    #[command(flatten)]
    pub(super) key: KeyArgs,

    /// A role; may be repeated. Default: device
    #[arg(long = "role", value_name = "ROLE", value_parser = id)]
    pub(super) roles: Vec<String>,

    /// A group; may be repeated
    #[arg(long = "group", value_name = "GROUP", value_parser = id)]
    pub(super) groups: Vec<String>,

    /// An attribute; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    pub(super) attributes: Vec<(String, String)>,

    /// A gateway that may speak for it; may be repeated
    #[arg(long = "via", value_name = "ID", value_parser = id)]
    pub(super) via: Vec<String>,
}

/// Exactly one of them.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct KeyArgs {
    /// Its Ed25519 public key as hex, PEM, OpenSSH or JWK; or a file with one, - is standard input
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(super) public_key: Option<String>,

    /// Make a new key: the private half goes to this new file
    #[arg(long, value_name = "FILE")]
    pub(super) generate: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// At most this many
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u64>,

    /// Only those after this id: the next page
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,

    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    pub(super) state: Option<StateArg>,

    /// Only members of this group
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum StateArg {
    Pending,
    Active,
    Suspended,
    Revoked,
}

impl From<StateArg> for DeviceState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Pending => Self::Pending,
            StateArg::Active => Self::Active,
            StateArg::Suspended => Self::Suspended,
            StateArg::Revoked => Self::Revoked,
        }
    }
}

/// Who signs, with what.
#[derive(Args, Debug)]
pub(super) struct SignerArgs {
    /// The device's id
    #[arg(long, value_name = "ID", value_parser = id)]
    pub(super) id: String,

    /// The file with its private key: PKCS#8 PEM, as openssl and `device add --generate` write it, or 64 hex digits
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct AssertArgs {
    #[command(flatten)]
    pub(super) signer: SignerArgs,

    /// The broker's name
    #[arg(long, value_name = "BROKER", value_parser = id)]
    pub(super) aud: String,

    /// A challenge from the broker's /challenge; needs no clock
    #[arg(long, value_name = "CHALLENGE", conflicts_with_all = ["challenge", "ttl"])]
    pub(super) cnonce: Option<String>,

    /// Fetch the challenge from this broker over CoAP
    #[arg(long, value_name = "URL", conflicts_with = "ttl")]
    pub(super) challenge: Option<String>,

    /// Without a challenge: how many seconds it lives
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) ttl: u64,

    /// The only client id that may use it
    #[arg(long, value_name = "CLIENT")]
    pub(super) client_id: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct FetchTokenArgs {
    #[command(flatten)]
    pub(super) signer: SignerArgs,

    /// The broker: coap://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    pub(super) coap: String,

    /// The broker's name. Default: what its /challenge says, which nobody vouches for
    #[arg(long, value_name = "BROKER", value_parser = id)]
    pub(super) broker_id: Option<String>,

    /// The broker's identity key, or a file with it: the answer must be signed by it; may be repeated (current and next)
    #[arg(long = "broker-key", value_name = "KEY", allow_hyphen_values = true)]
    pub(super) broker_keys: Vec<String>,

    /// Whom the token is for. Default: the broker
    #[arg(long, value_name = "AUDIENCE")]
    pub(super) audience: Option<String>,

    /// What it shall allow, as pub:FILTER, sub:FILTER or pubsub:FILTER; may be repeated. Default: all the device may do
    #[arg(long = "scope", value_name = "RIGHT")]
    pub(super) scope: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Show what a token or an assertion says, and whether it is genuine
    Inspect {
        /// The token (CWT as base64url or hex) or assertion; - is standard input
        token: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// The device's id, or a client id
    pub(super) id: String,
}

#[derive(Args, Debug)]
pub(super) struct AuditArgs {
    /// Only events about this device or its client ids
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,

    /// Only refusals
    #[arg(long)]
    pub(super) refused: bool,

    /// Go on with what happens from now on
    #[arg(long)]
    pub(super) follow: bool,

    /// The newest so many [default: 100; with --follow 10]
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check settings without starting anything
    Check(SettingsArgs),
    /// Show every setting, its value and where that comes from
    Show(SettingsArgs),
}

fn id(text: &str) -> Result<String, String> {
    match Id::new(text) {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err("1 to 64 of A-Z a-z 0-9 . _ - : and the first a letter or digit".into()),
    }
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((id(name)?, value.to_owned()))
}
