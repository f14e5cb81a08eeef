//! The broker that a case is run against: an address, a version and a way to log in. Nothing of it is reached but its
//! socket, so any broker will do.
use std::net::SocketAddr;
use std::time::Duration;

use keygate_protocol::mqtt::{Connect, Packet, Version};
use keygate_tests::device::Device;
use keygate_tests::doors::accepted;
use keygate_tests::wire::Wire;

use super::peer::Peer;

/// Longer than any case takes, so that only what is meant to end does.
pub(super) const KEEP_ALIVE_S: u16 = 60;
/// How long the sessions of these cases outlive their connections.
pub(super) const LASTING_S: u32 = 120;

/// How a case gets in.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// Nothing is asked.
    Anonymous,
    /// A user and a password that every client may use.
    Password { user: String, password: String },
}

/// A device that can prove itself.
#[derive(Clone, Debug)]
pub(super) struct Enrolled {
    pub(super) device: Device,
}

/// The part of all names that the suite may use: everything, or what one identity has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Within {
    /// In front of client identifiers.
    pub(super) ids: &'static str,
    /// In front of topics.
    pub(super) topics: &'static str,
}

/// A broker, and the part of its names and topics that this run of this case has for itself.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) version: Version,
    pub(super) login: Login,
    /// Whether the reason codes of Keygate are demanded where the standard lets a broker choose, or say nothing.
    pub(super) exact: bool,
    /// What stands in front of client identifiers and topics, where a broker lets nobody choose them freely.
    pub(super) within: Within,
    /// Letters and digits; in no other run.
    pub(super) place: String,
    /// How long to wait for what must come.
    pub(super) patience: Duration,
    /// For the cases of AUTH.
    pub(super) enrolled: Option<Enrolled>,
}

impl Target {
    /// Whether it speaks MQTT 5.
    pub(super) fn is_v5(&self) -> bool {
        self.version == Version::V5
    }

    /// A client identifier of this case: at most 23 letters and digits, so that every broker has to take it.
    pub(super) fn id(&self, name: &str) -> String {
        let id = format!("{}{name}", self.place);
        assert!(id.len() <= 23, "{id} is too long for some brokers");
        format!("{}{id}", self.within.ids)
    }

    /// A topic of this case, or a filter.
    pub(super) fn topic(&self, rest: &str) -> String {
        format!("{}kc/{}/{rest}", self.within.topics, self.place)
    }

    /// A connection on which nothing was said yet.
    #[track_caller]
    pub(super) fn wire(&self) -> Wire {
        Wire::open(self.address)
            .speaking(self.version)
            .waiting(self.patience)
    }

    /// A CONNECT that begins a new session, which ends with its connection.
    pub(super) fn connect<'a>(&'a self, id: &'a str) -> Connect<'a> {
        let mut connect = Connect::new(self.version, id);
        connect.clean_start = true;
        connect.keep_alive_s = KEEP_ALIVE_S;
        if let Login::Password { user, password } = &self.login {
            connect.username = Some(user);
            connect.password = Some(password.as_bytes());
        }
        connect
    }

    /// A CONNECT that resumes a session, or begins one that outlives its connection.
    pub(super) fn lasting<'a>(&'a self, id: &'a str) -> Connect<'a> {
        let mut connect = self.connect(id);
        connect.clean_start = false;
        if self.is_v5() {
            connect.properties.session_expiry_s = LASTING_S;
        }
        connect
    }

    /// Connects; an error is the code of the refusal, `None` if the broker closed without a word.
    #[track_caller]
    pub(super) fn try_open(&self, connect: &Connect<'_>) -> Result<Peer, Option<u8>> {
        let mut wire = self.wire().speaking(connect.version);
        wire.send(&Packet::Connect(*connect));
        accepted(&mut wire).map(|connack| Peer::new(wire, connack, self))
    }

    /// Connects.
    #[track_caller]
    pub(super) fn open(&self, connect: &Connect<'_>) -> Peer {
        self.try_open(connect)
            .unwrap_or_else(|code| panic!("the broker refuses: {code:02x?}"))
    }

    /// Connects with a new session that ends with the connection.
    #[track_caller]
    pub(super) fn join(&self, name: &str) -> Peer {
        self.open(&self.connect(&self.id(name)))
    }

    /// Connects to the session with this name, or begins one, that outlives its connection.
    #[track_caller]
    pub(super) fn resume(&self, name: &str) -> Peer {
        self.open(&self.lasting(&self.id(name)))
    }

    /// The broker refuses this CONNECT and closes: in MQTT 5 with this code, or without a word where that is allowed
    /// and this is no Keygate; in 3.1.1 with this return code, or without a CONNACK when there is none.
    #[track_caller]
    pub(super) fn must_refuse(&self, connect: &[u8], code: u8, return_code: Option<u8>) {
        use keygate_tests::wire::Heard;
        let mut wire = self.wire();
        wire.send_bytes(connect);
        let said = match wire.hear() {
            Heard::Closed => None,
            Heard::Packet(got) => {
                let raw = got.raw().to_vec();
                assert_eq!(
                    raw[0], 0x20,
                    "only a CONNACK may answer CONNECT: {raw:02x?}"
                );
                assert_eq!(raw[2], 0, "no session is present in a refusal");
                assert_eq!(wire.hear(), Heard::Closed, "a refusal is followed");
                Some(raw[3])
            }
        };
        match self.version {
            Version::V311 => assert_eq!(said, return_code, "{connect:02x?}"),
            Version::V5 if self.exact => assert_eq!(said, Some(code), "{connect:02x?}"),
            Version::V5 => assert!(said.is_none_or(|code| code != 0), "{connect:02x?}"),
        }
    }
}
