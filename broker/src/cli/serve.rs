//! `keygate serve`.

use super::args::ServeArgs;
use super::failure::Failure;
use super::{Context, init, settings};
use crate::admin::client::Connection;
use crate::admin::command::hex;
use crate::keys::{DataDir, DataDirError};
use crate::serve::{Running, StartError};
use crate::telemetry::event::Listener;
use crate::telemetry::log;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a command that holds the data directory may keep it.
const LOCK_PATIENCE_MS: u64 = 5_000;
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What `serve` prints when every listener accepts.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    broker_id: &'a str,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtt: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtts: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ws: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wss: Option<SocketAddr>,
    /// The CA that a client must trust, if the certificate is the data directory's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coap: Option<SocketAddr>,
    identity_key: String,
}

pub(super) fn run(
    context: &mut Context,
    args: &ServeArgs,
    level: Option<String>,
) -> Result<(), Failure> {
    let config = settings::config(&args.settings, level)?;
    log::set_up(config.log()).map_err(Failure::wrong_use)?;
    // Before anything is announced: whoever stops the broker at its first word is heard.
    let signals = Signals::new()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let data = open(context, args)?;
    let running = Running::start(data, &config).map_err(not_started)?;
    let ready = Ready {
        event: "ready",
        broker_id: running.broker_id(),
        pid: std::process::id(),
        mqtt: running.listener(Listener::Mqtt),
        mqtts: running.listener(Listener::Mqtts),
        ws: running.listener(Listener::Ws),
        wss: running.listener(Listener::Wss),
        ca: running.ca(),
        coap: running.coap(),
        identity_key: hex(running.identity_key()),
    };
    let line = serde_json::to_string(&ready).map_err(Failure::failed)?;
    match context.screen.result(&ready, line) {
        // Whoever read it may be gone; the broker is not for them alone.
        Ok(()) | Err(Failure::OutputClosed) => {}
        Err(failure) => return Err(failure),
    }
    signals.wait();
    tracing::info!("stopping");
    running.stop();
    Ok(())
}

fn not_started(error: StartError) -> Failure {
    match &error {
        StartError::Listen {
            protocol,
            error: cause,
            ..
        } if cause.kind() == io::ErrorKind::AddrInUse => Failure::failed(format!(
            "{error}; something else listens there (another broker?): stop it, or choose another address with \
             --{protocol} ADDR"
        )),
        _ => Failure::failed(error),
    }
}

/// Opens the data directory, or makes it.
fn open(context: &mut Context, args: &ServeArgs) -> Result<DataDir, Failure> {
    let start = context.clock.now();
    loop {
        match DataDir::open(&context.data) {
            Ok(data) => return check_name(data, args),
            Err(DataDirError::NotInitialised { .. }) => {
                let data = init::make(context, args.broker_id.as_deref())?;
                tracing::info!(
                    broker_id = %data.broker_id(),
                    data = %context.data.display(),
                    "made a new data directory"
                );
                return Ok(data);
            }
            // A command is done in a moment; a broker that runs is not.
            Err(error @ DataDirError::Locked { .. }) => {
                let running = matches!(Connection::open(&context.data), Ok(Some(_)));
                if running || context.clock.now().since(start) >= LOCK_PATIENCE_MS {
                    return Err(error.into());
                }
                std::thread::park_timeout(LOOK_AGAIN);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A name that is given must be the name that the devices know.
fn check_name(data: DataDir, args: &ServeArgs) -> Result<DataDir, Failure> {
    match &args.broker_id {
        Some(name) if *name != data.broker_id().as_str() => Err(Failure::wrong_use(format!(
            "{} belongs to broker `{}`, and a broker's name never changes; leave --broker-id out",
            data.layout().root().display(),
            data.broker_id()
        ))),
        _ => Ok(data),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let context = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        drop(context);
        Ok(Self {
            runtime,
            terminate,
            interrupt,
        })
    }

    /// Waits for the first of them.
    fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        });
    }
}
