//! What a check works with.
use keygate_broker::authn::{ChallengeKeys, ListenerRules, ReplayBounds};
use keygate_broker::clock::{Clock, SystemClock};
use keygate_broker::identity::{Directory, Follower, SqliteStore, StoreError};
use keygate_broker::keys::{DataDir, DataDirError, Layout};
use keygate_broker::rng::SystemRandom;
use keygate_broker::telemetry::Audit;
use keygate_protocol::ident::IdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a [`LoginCheck`](crate::LoginCheck) works with: made by [`open`](Self::open) or [`new`](Self::new), then changed
/// to taste.
///
/// ```
/// use keygate_broker::identity::{MemoryStore, NewDevice, Registry, parse_public_key};
/// use keygate_broker::rng::SystemRandom;
/// use keygate_rumqttd::{LoginCheck, Setup};
///
/// // Devices that your own program keeps, instead of a data directory.
/// let registry = Registry::new(MemoryStore::new(), &mut SystemRandom)?;
/// let key = parse_public_key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")?;
/// registry.add(&NewDevice::new("dev-1", key))?;
///
/// let mut setup = Setup::new("my-broker", registry.directory());
/// // Only assertions over a challenge: nobody's clock counts.
/// setup.rules.assertion_ttl_max_s = 0;
/// let check = LoginCheck::new(setup)?;
/// assert!(!check.admits("dev-1", "dev-1", "a guess"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Setup {
    /// The name that assertions are made for.
    pub broker_id: Box<str>,
    /// Former names, still accepted.
    pub broker_id_aliases: Box<[Box<str>]>,
    /// How often an assertion counts and how long one with times may live. At first
    /// [`ListenerRules::plain`]: each one once, 300 s at most; a client that reconnects by itself with the same password
    /// needs [`ListenerRules::loopback`]. With `assertion_ttl_max_s: 0` only those over a challenge count. What else
    /// stands there is about methods that rumqttd does not have.
    pub rules: ListenerRules,
    /// How many used assertions are remembered.
    pub replay: ReplayBounds,
    /// Where every verdict is recorded. rumqttd does not say where a client comes from: the peer reads `0.0.0.0:0`.
    pub audit: Option<Audit>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) challenges: Arc<ChallengeKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) follower: Option<Follower>,
}

/// What keeps a check from being set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A name of the broker is no id.
    #[error("the broker id is not an id: {0}")]
    BrokerId(#[from] IdError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Nobody has been enrolled, so that there is no store to read yet.
    #[error("{} does not exist yet: enrol a device first", path.display())]
    NoStore {
        /// Where it would be.
        path: PathBuf,
    },
    /// The identity store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no thread.
    #[error("no thread to follow the identity store: {0}")]
    Thread(#[source] io::Error),
}

impl Setup {
    /// Broker id and devices of a Keygate data directory, which is only read: devices are enrolled, suspended and
    /// revoked with `keygate`, whether a Keygate broker runs on the directory or not. Changes count within a second.
    ///
    /// # Errors
    /// [`SetupError::DataDir`], [`SetupError::NoStore`], [`SetupError::Store`].
    pub fn open(data: &Path) -> Result<Self, SetupError> {
        let broker_id = DataDir::peek(data)?;
        let path = Layout::new(data).identity_db();
        if !path.exists() {
            return Err(SetupError::NoStore { path });
        }
        let store = SqliteStore::open_read_only(&path)?;
        let follower = Follower::new(store, &mut SystemRandom)?;
        let mut setup = Self::new(&broker_id, follower.directory());
        setup.follower = Some(follower);
        Ok(setup)
    }

    /// Devices that somebody else in this process keeps, as a rule
    /// [`Registry::directory`](keygate_broker::identity::Registry::directory).
    #[must_use]
    pub fn new(broker_id: &str, directory: Arc<Directory>) -> Self {
        Self {
            broker_id: broker_id.into(),
            broker_id_aliases: Box::default(),
            rules: ListenerRules::plain(),
            replay: ReplayBounds::default(),
            audit: None,
            directory,
            challenges: Arc::new(ChallengeKeys::new(broker_id, &mut SystemRandom)),
            clock: Arc::new(SystemClock::start()),
            follower: None,
        }
    }

    /// Accepts the challenges of a Keygate broker in the same process: its keys, for the same broker id, and the clock
    /// that they are issued by. Without this the check has keys of its own, and only
    /// [`serve_challenges`](crate::LoginCheck::serve_challenges) makes challenges that it accepts.
    #[must_use]
    pub fn sharing(mut self, challenges: Arc<ChallengeKeys>, clock: Arc<dyn Clock>) -> Self {
        self.challenges = challenges;
        self.clock = clock;
        self
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("broker_id", &self.broker_id)
            .field("rules", &self.rules)
            .field("directory", &self.directory.len())
            .field("followed", &self.follower.is_some())
            .finish_non_exhaustive()
    }
}
