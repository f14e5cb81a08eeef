//! The broker put together: opens the store, wires the rooms, starts the threads, and ends them in order.
mod listen;
mod repeat;
#[cfg(feature = "rumqttd")]
mod rumqttd;
mod system;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::admin;
use crate::authn::{Authn, AuthnConfig, ChallengeKeys, ROLE_ANONYMOUS, ReplayBounds};
use crate::authz::{PatternError, Policy, Role};
use crate::clock::{Clock, SystemClock};
use crate::coap;
use crate::config::{Config, Engine, PublishRefusal, SubscribeRefusal, TlsVersion};
use crate::disk::{Reserve, end_process};
use crate::gate::Gate;
use crate::gate::transport::{CertificateError, Certificates, Oldest, Reloaded};
use crate::hub::{HubParts, HubShared, Times};
use crate::identity::{EndOnFault, Registry, SqliteStore, StoreError};
use crate::keys::{DataDir, DataDirError, KeyFileError};
use crate::limits::Reached;
use crate::log::{Log, LogError, LogSettings, Recovered, SqliteLog};
use crate::rng::{Random, SystemRandom};
use crate::shard::poll::{Listening, ShardHandle, ShardLoop};
use crate::shard::{Mail, Shard, ShardId, ShardSetup, Upstream};
use crate::telemetry::event::{BrokerChange, EventKind, Listener};
use crate::telemetry::figures::Shown;
use crate::telemetry::{Audit, AuditWriter, Event, Figures, Tally};
use crate::token::{TOKEN_LIFE_S, TokenIssuer};
use crate::upstream::UpstreamRules;
use keygate_protocol::ident::IdError;
use keygate_protocol::mqtt::ReasonCode;
use repeat::Repeat;
use thiserror::Error;

/// How often the certificate's files are looked at: a renewal is in force before anybody wonders.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(10);

/// Ids in one mail about changed identities: a shard looks each up, so an import must not hold it up.
const RECHECK_IDS: usize = 1_024;

/// Why the broker did not start. Nothing runs then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The broker's name is none that devices can be configured with.
    #[error("the broker id is not an id: {0}")]
    BrokerId(IdError),
    /// A topic filter of the configuration is none.
    #[error("[anonymous]: {0}")]
    Policy(PatternError),
    /// A private key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The identity store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sessions, queues and retained messages cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A listener's address cannot be had.
    #[error("cannot listen on {protocol} {address}: {error}")]
    Listen {
        /// For what.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Something in the data directory cannot be opened or written.
    #[error("{}: {error}", path.display())]
    File {
        /// What.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The upstream's name cannot be looked up.
    #[error("upstream {node}: {error}")]
    Upstream {
        /// The name and port.
        node: String,
        /// What the system says.
        error: io::Error,
    },
    /// What TLS listeners are to present cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system gives no thread or no poll.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// A running broker. Dropping it stops it.
///
/// ```
/// use keygate_broker::config::{Flags, Given};
/// use keygate_broker::keys::DataDir;
/// use keygate_broker::rng::SystemRandom;
/// use keygate_broker::serve::Running;
/// use keygate_protocol::time::UnixTime;
///
/// # let parent = tempfile::tempdir()?;
/// # let path = parent.path().join("data");
/// let data = DataDir::open_or_init(&path, UnixTime(1_800_000_000), &mut SystemRandom)?;
/// let any_port = Some("127.0.0.1:0".parse()?);
/// let config = Given::default().check(&Flags { mqtt: any_port, coap: any_port, ..Flags::default() })?;
/// let broker = Running::start(data, &config)?;
/// assert_ne!(broker.mqtt().unwrap().port(), 0);
/// broker.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Running {
    broker_id: String,
    identity_key: [u8; 32],
    listeners: Vec<(Listener, SocketAddr)>,
    has_own_certificate: bool,
    registry: Arc<Registry>,
    audit: Audit,
    clock: Arc<dyn Clock>,
    // In the order in which they end.
    admin: Option<admin::Server>,
    repeats: Vec<Repeat>,
    coap: Option<coap::Server>,
    shards: Vec<ShardHandle>,
    threads: Vec<JoinHandle<()>>,
    figures: Vec<Arc<Shown>>,
    log: Arc<SqliteLog>,
    writer: Option<AuditWriter>,
    /// Holds the lock until everything else has ended.
    data: DataDir,
}

impl Running {
    /// Starts a broker on an opened data directory; when it returns, every listener accepts.
    pub fn start(data: DataDir, config: &Config) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let in_data = |error| StartError::File {
            path: data.layout().root().into(),
            error,
        };
        let (audit, writer) = Audit::start(
            data.layout().root(),
            config.audit(),
            config.limits().audit_ring,
        )
        .map_err(in_data)?;
        let reached = Arc::new(Reached::default());
        audit.count_in(Arc::clone(&reached));
        let registry = Arc::new(Registry::new(
            open_identities(&data, config)?,
            &mut SystemRandom,
        )?);
        raise_descriptor_limit();
        let certificates = certificates(&data, config, &*clock)?;
        let (listeners, tcp) = listen::mqtt(config, certificates.as_ref())?;
        let udp = config.coap().map(listen::udp).transpose()?;
        let (log, recovered) = open_log(&data, config, &clock, &reached)?;
        let parts = Parts::new(&data, config, &registry, &clock, (&log, recovered), reached)?;
        let mut running = Self {
            broker_id: data.broker_id().as_str().into(),
            identity_key: *data.identity_keys()?.current.public_key().as_bytes(),
            has_own_certificate: certificates.is_some() && config.certificate().is_none(),
            listeners,
            registry,
            audit,
            clock,
            admin: None,
            repeats: Vec::new(),
            coap: None,
            shards: Vec::new(),
            threads: Vec::new(),
            figures: Vec::new(),
            log,
            writer: Some(writer),
            data,
        };
        // From here on dropping `running` undoes what has been started.
        running
            .start_shards(&parts, tcp, config)
            .map_err(StartError::Thread)?;
        running.follow_identities();
        running.follow_log();
        running.start_coap(&parts, udp)?;
        running.start_admin(&parts)?;
        running
            .start_system(&parts, config)
            .and_then(|()| running.watch_certificates(certificates))
            .map_err(StartError::Thread)?;
        running.record(BrokerChange::Started);
        Ok(running)
    }

    /// The broker's name, which devices are configured with.
    #[must_use]
    pub fn broker_id(&self) -> &str {
        &self.broker_id
    }

    /// The public identity key, which devices pin.
    #[must_use]
    pub fn identity_key(&self) -> &[u8; 32] {
        &self.identity_key
    }

    /// Where MQTT over plain TCP listens.
    #[must_use]
    pub fn mqtt(&self) -> Option<SocketAddr> {
        self.listener(Listener::Mqtt)
    }

    /// Where this listener of MQTT is.
    #[must_use]
    pub fn listener(&self, wanted: Listener) -> Option<SocketAddr> {
        let mut listeners = self.listeners.iter();
        listeners.find_map(|(listener, address)| (*listener == wanted).then_some(*address))
    }

    /// The certificate of the CA that clients must trust, if a listener presents the data directory's own certificate.
    #[must_use]
    pub fn ca(&self) -> Option<PathBuf> {
        self.has_own_certificate
            .then(|| self.data.layout().tls_ca())
    }

    /// Where CoAP listens.
    #[must_use]
    pub fn coap(&self) -> Option<SocketAddr> {
        self.coap
            .as_ref()
            .and_then(|server| server.addresses().first().copied())
    }

    /// The identities, for whoever runs the broker in its own process.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Tells every client, ends every thread, and lets go of the data directory.
    pub fn stop(self) {
        drop(self);
    }

    fn start_shards(
        &mut self,
        parts: &Parts,
        tcp: Vec<Vec<Listening>>,
        config: &Config,
    ) -> io::Result<()> {
        let count = config.shards();
        let mut polls = Vec::new();
        for _ in 0..count {
            let (handle, poll, inbox) = ShardLoop::inbox(config.limits().inbox)?;
            self.shards.push(handle);
            polls.push((poll, inbox));
        }
        let mut listeners = tcp.into_iter();
        let mut loops = Vec::new();
        for (id, (poll, inbox)) in polls.into_iter().enumerate() {
            let setup = ShardSetup {
                id: ShardId(id as u16),
                shards: count as u16,
                gate: Arc::clone(&parts.gate),
                hub: Arc::clone(&parts.hub),
                upstream: parts.upstream.clone(),
                random: Box::new(SystemRandom),
                now: self.clock.now(),
            };
            let own = listeners.next().unwrap_or_default();
            let peers = self.shards.clone();
            let (clock, audit) = (Arc::clone(&self.clock), self.audit.clone());
            let mut shard =
                ShardLoop::new(Shard::new(setup), poll, inbox, peers, own, clock, audit)?;
            // All of them before the first client is let in: what it publishes is for the sessions of every shard.
            shard.recover();
            self.figures.push(shard.figures());
            loops.push(shard);
        }
        for (id, shard) in loops.into_iter().enumerate() {
            let run = move || {
                if let Err(error) = shard.run() {
                    tracing::error!(shard = id, %error, "a shard has ended");
                }
            };
            self.threads.push(
                std::thread::Builder::new()
                    .name(format!("shard-{id}"))
                    .spawn(run)?,
            );
        }
        Ok(())
    }

    /// Every change of an identity reaches the shards: whoever lost its standing is cut at once.
    fn follow_identities(&self) {
        let shards = self.shards.clone();
        self.registry.on_change(Box::new(move |change| {
            for ids in change.ids.chunks(RECHECK_IDS) {
                let ids: Arc<[Arc<str>]> = ids.into();
                for shard in &shards {
                    // A shard that is gone has no sessions to cut.
                    let _ = shard.send(Mail::Recheck(Arc::clone(&ids)));
                }
            }
        }));
    }

    /// Every commit wakes the shards that wait for it.
    fn follow_log(&self) {
        let shards = self.shards.clone();
        self.log.on_durable(Box::new(move || {
            shards.iter().for_each(ShardHandle::wake);
        }));
        let (audit, clock) = (self.audit.clone(), Arc::clone(&self.clock));
        let broker_id = self.broker_id.clone();
        self.log.on_full(Box::new(move |full| {
            let change = match full {
                true => BrokerChange::DiskFull,
                false => BrokerChange::DiskRoom,
            };
            audit.record(broker_event(change, &broker_id, &*clock));
        }));
    }

    fn start_coap(&mut self, parts: &Parts, udp: Option<UdpSocket>) -> Result<(), StartError> {
        let Some(udp) = udp else { return Ok(()) };
        let deps = coap::Deps {
            broker_id: self.broker_id.as_str().into(),
            directory: self.registry.directory(),
            challenges: Arc::clone(&parts.challenges),
            policy: Arc::clone(&parts.gate.policy),
            issuer: parts.issuer.clone(),
            token_keys: Arc::new(self.data.token_keys()?),
            identity_keys: self.data.identity_keys()?,
            random: Box::new(SystemRandom),
        };
        let endpoint = coap::Endpoint::new(deps, self.clock.now(), self.clock.wall());
        let (clock, audit) = (Arc::clone(&self.clock), self.audit.clone());
        self.coap = Some(
            coap::Server::start(vec![udp], endpoint, clock, audit).map_err(StartError::Thread)?,
        );
        Ok(())
    }

    fn start_admin(&mut self, parts: &Parts) -> Result<(), StartError> {
        let deps = admin::Deps {
            registry: Arc::clone(&self.registry),
            audit: self.audit.clone(),
            clock: Arc::clone(&self.clock),
            keys: Arc::new(admin::broker_keys(&self.data)?),
            figures: Some(self.read_figures(parts)),
        };
        let root = self.data.layout().root();
        let started = admin::Server::start(root, deps);
        self.admin = Some(started.map_err(|error| StartError::File {
            path: self.data.layout().admin_socket(),
            error,
        })?);
        Ok(())
    }

    /// What the broker says of itself below `$SYS`.
    fn start_system(&mut self, parts: &Parts, config: &Config) -> io::Result<()> {
        let (Some(every), Some(shard)) = (config.sys_interval(), self.shards.first()) else {
            return Ok(());
        };
        let (shard, read) = (shard.clone(), self.read_figures(parts));
        let again = move || match shard.send(Mail::Own(system::statements(&read()))) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        self.repeats.push(Repeat::start("sys", every, again)?);
        Ok(())
    }

    /// Looks now and then whether the certificate was renewed.
    fn watch_certificates(&mut self, certificates: Option<Arc<Certificates>>) -> io::Result<()> {
        let Some(certificates) = certificates else {
            return Ok(());
        };
        let (audit, clock) = (self.audit.clone(), Arc::clone(&self.clock));
        let broker_id = self.broker_id.clone();
        let mut last_fault = None;
        let again = move || {
            let change = match certificates.reload() {
                Ok(Reloaded::Unchanged) => None,
                Ok(Reloaded::Changed) => {
                    tracing::info!("a new certificate is presented");
                    last_fault = None;
                    Some(BrokerChange::CertificateRenewed)
                }
                Err(error) => {
                    let fault = error.to_string();
                    let is_new = last_fault.as_ref() != Some(&fault);
                    if is_new {
                        tracing::error!(%error, "the certificate cannot be read again; the last one stays");
                    }
                    last_fault = Some(fault);
                    is_new.then_some(BrokerChange::CertificateRefused)
                }
            };
            if let Some(change) = change {
                audit.record(broker_event(change, &broker_id, &*clock));
            }
            ControlFlow::Continue(())
        };
        let repeat = Repeat::start("certificates", CERTIFICATE_LOOK, again)?;
        self.repeats.push(repeat);
        Ok(())
    }

    fn read_figures(&self, parts: &Parts) -> admin::ReadFigures {
        let (shards, hub) = (self.figures.clone(), Arc::clone(&parts.hub));
        let reached = Arc::clone(&parts.gate.reached);
        let (clock, started) = (Arc::clone(&self.clock), self.clock.now());
        Arc::new(move || {
            let mut tally = Tally::default();
            shards.iter().for_each(|shard| tally += shard.tally());
            Figures {
                uptime_ms: clock.now().since(started),
                tally,
                subscriptions: hub.subscriptions() as u64,
                retained_messages: hub.retained_messages() as u64,
                retained_bytes: hub.retained_bytes() as u64,
                reached: Figures::of_bounds(&reached),
            }
        })
    }

    fn record(&self, change: BrokerChange) {
        self.audit
            .record(broker_event(change, &self.broker_id, &*self.clock));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // First nobody new, then everybody told, then the last words written.
        drop(self.admin.take());
        self.repeats.clear();
        drop(self.coap.take());
        for shard in &self.shards {
            let _ = shard.send(Mail::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard had panicked");
            }
        }
        // What the shards did last is stored before anybody can read that the broker stopped.
        self.log.stop();
        self.record(BrokerChange::Stopped);
        if let Some(writer) = self.writer.take() {
            writer.stop();
        }
    }
}

/// What the doors share.
struct Parts {
    upstream: Option<Arc<Upstream>>,
    gate: Arc<Gate>,
    hub: Arc<HubShared>,
    challenges: Arc<ChallengeKeys>,
    issuer: TokenIssuer,
}

impl Parts {
    fn new(
        data: &DataDir,
        config: &Config,
        registry: &Registry,
        clock: &Arc<dyn Clock>,
        (log, recovered): (&Arc<SqliteLog>, Recovered),
        reached: Arc<Reached>,
    ) -> Result<Self, StartError> {
        let random: &mut dyn Random = &mut SystemRandom;
        let upstream = upstream(config, clock, &reached)?;
        let directory = registry.directory();
        let limits = Arc::new(config.limits().clone());
        let broker_id = data.broker_id().as_str();
        let challenges = Arc::new(ChallengeKeys::new(broker_id, random));
        let keys = data.identity_keys()?;
        let authn = Authn::new(AuthnConfig {
            broker_id: broker_id.into(),
            broker_id_aliases: Box::default(),
            identity: [keys.current.signer(), keys.next.signer()].into(),
            directory: Arc::clone(&directory),
            challenges: Arc::clone(&challenges),
            started: clock.wall(),
            session_max_s: Some(limits.session_s).filter(|&seconds| seconds != 0),
            replay: ReplayBounds::default(),
        });
        let gate = Arc::new(Gate {
            reached: Arc::clone(&reached),
            authn: Arc::new(authn.map_err(StartError::BrokerId)?),
            policy: Arc::new(policy(config).map_err(StartError::Policy)?),
            directory: Arc::clone(&directory),
            limits: Arc::clone(&limits),
            listeners: listen::rules(config),
            acknowledge_refused: config.publish_refusal() == PublishRefusal::Acknowledge,
            subscribe_refusal: match config.subscribe_refusal() {
                SubscribeRefusal::NotAuthorized => ReasonCode::NotAuthorized,
                SubscribeRefusal::Unspecified => ReasonCode::UnspecifiedError,
            },
        });
        tracing::info!(
            sessions = recovered.sessions.len(),
            queued = recovered.queue.len(),
            retained = recovered.retained.len(),
            "read what was stored"
        );
        let log: Arc<dyn Log> = Arc::clone(log) as _;
        let hub = Arc::new(HubShared::new(HubParts {
            limits,
            reached,
            log,
            rights: Arc::clone(&gate) as _,
            seed: random.array(),
            recovered,
        }));
        let issuer = TokenIssuer::new(broker_id, [], TOKEN_LIFE_S).map_err(StartError::BrokerId)?;
        Ok(Self {
            upstream: upstream.map(Arc::new),
            gate,
            hub,
            challenges,
            issuer,
        })
    }
}

/// The broker that sessions are relayed to, if one is.
fn upstream(
    config: &Config,
    clock: &Arc<dyn Clock>,
    reached: &Arc<Reached>,
) -> Result<Option<Upstream>, StartError> {
    match config.engine() {
        Engine::Hub => Ok(None),
        Engine::Upstream => elsewhere(config).map(Some),
        #[cfg(feature = "rumqttd")]
        Engine::Rumqttd => rumqttd::start(config.limits(), clock, reached).map(Some),
        #[cfg(not(feature = "rumqttd"))]
        Engine::Rumqttd => {
            // No configuration that has been checked comes here.
            let _ = (clock, reached);
            Err(StartError::Upstream {
                node: "rumqttd".to_owned(),
                error: io::ErrorKind::Unsupported.into(),
            })
        }
    }
}

/// A broker of its own. Its names are looked up once: a shard must not wait for a name server.
fn elsewhere(config: &Config) -> Result<Upstream, StartError> {
    let settings = config.upstream();
    let mut nodes = Vec::new();
    for node in &settings.nodes {
        let found = node.to_socket_addrs().and_then(|mut found| {
            let none = || io::Error::new(io::ErrorKind::NotFound, "no address of that name");
            found.next().ok_or_else(none)
        });
        let address = found.map_err(|error| StartError::Upstream {
            node: node.clone(),
            error,
        })?;
        nodes.push(address.into());
    }
    let password = match &settings.password_file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| StartError::File {
                path: path.clone(),
                error,
            })?;
            Some(text.trim_end_matches(['\r', '\n']).as_bytes().into())
        }
    };
    Ok(Upstream {
        nodes,
        rules: UpstreamRules {
            username: settings.username.as_deref().map(Box::from),
            password,
            client_id_prefix: settings.client_id_prefix.as_str().into(),
            tickets: None,
        },
    })
}

/// The built-in roles, and what the configuration gives to clients that prove nothing.
fn policy(config: &Config) -> Result<Policy, PatternError> {
    let policy = Policy::builtin();
    let Some(anonymous) = config.anonymous() else {
        return Ok(policy);
    };
    let allow: Vec<&str> = anonymous.allow.iter().map(String::as_str).collect();
    let deny: Vec<&str> = anonymous.deny.iter().map(String::as_str).collect();
    Ok(policy.with(Role::open(ROLE_ANONYMOUS, &allow, &deny)?))
}

/// Opens `identity.db` with its reserve; a failure that leaves open what is stored ends the process.
fn open_identities(data: &DataDir, config: &Config) -> Result<EndOnFault<SqliteStore>, StoreError> {
    let path = data.layout().identity_db();
    let reserve = Reserve::new(
        data.layout().identity_reserve(),
        config.limits().reserve_bytes,
    );
    let store = SqliteStore::open(&path)?.with_reserve(reserve);
    Ok(EndOnFault::new(store, path, end_process()))
}

/// Opens `state.db` and starts the log.
fn open_log(
    data: &DataDir,
    config: &Config,
    clock: &Arc<dyn Clock>,
    reached: &Arc<Reached>,
) -> Result<(Arc<SqliteLog>, Recovered), LogError> {
    let times = Times {
        now: clock.now(),
        wall: clock.wall(),
    };
    let mut settings = LogSettings::new(config.limits(), Arc::clone(clock));
    settings.reached = Arc::clone(reached);
    SqliteLog::open(&data.layout().state_db(), settings, times)
}

/// What TLS listeners present, if there are any: what is configured, or what the data directory has.
fn certificates(
    data: &DataDir,
    config: &Config,
    clock: &dyn Clock,
) -> Result<Option<Arc<Certificates>>, StartError> {
    let is_tls = |listener| matches!(listener, Listener::Mqtts | Listener::Wss);
    if !config
        .mqtt_listeners()
        .each()
        .any(|(listener, _)| is_tls(listener))
    {
        return Ok(None);
    }
    let (chain, key) = match config.certificate() {
        Some(paths) => (paths.cert.clone(), paths.key.clone()),
        None => {
            data.server_certificate(clock.wall(), &mut SystemRandom)?;
            let layout = data.layout();
            (layout.tls_server(), layout.tls_server_key())
        }
    };
    let oldest = match config.tls_version() {
        TlsVersion::V1_2 => Oldest::Tls12,
        TlsVersion::V1_3 => Oldest::Tls13,
    };
    Ok(Some(Arc::new(Certificates::load(chain, key, oldest)?)))
}

fn broker_event(change: BrokerChange, broker_id: &str, clock: &dyn Clock) -> Event {
    Event {
        wall: clock.wall(),
        kind: EventKind::Broker {
            change,
            broker_id: broker_id.into(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
    }
}

/// As many descriptors as the system lets this process have: each connection takes one.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
