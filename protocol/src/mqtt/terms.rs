//! The small words of MQTT: versions, roles, qualities, identifiers.
use core::num::{NonZeroU16, NonZeroU32};

/// A packet identifier; zero does not exist (MQTT 5 §2.2.1).
pub type PacketId = NonZeroU16;

/// Largest value of a variable byte integer, and so of a Remaining Length (MQTT 5 §1.5.5).
pub const VARINT_MAX: u32 = 268_435_455;

/// The protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5, protocol level 5.
    V5,
}

impl Version {
    /// The protocol level byte of CONNECT.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

/// Which end wrote the bytes: some packets, properties and reason codes belong to one end only.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sender {
    /// A device or a service.
    Client,
    /// A broker.
    Server,
}

/// Quality of service: how hard delivery is tried.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0: sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: acknowledged, may arrive twice.
    AtLeastOnce = 1,
    /// QoS 2: arrives once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS with this number; 3 and above do not exist.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    #[must_use]
    pub fn level(self) -> u8 {
        self as u8
    }
}

/// A subscription identifier: 1 to 268,435,455 (MQTT 5 §3.8.2.1.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The identifier with this number, if it is in range.
    #[must_use]
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value)
            .filter(|id| id.get() <= VARINT_MAX)
            .map(Self)
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0.get()
    }
}

/// What the publisher says about the payload (MQTT 5 §3.3.2.3.2). The codec does not check the payload against it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Bytes of any kind; the same as no statement.
    Bytes = 0,
    /// UTF-8 text.
    Utf8 = 1,
}

/// Which retained messages a SUBSCRIBE asks for (MQTT 5 §3.8.3.1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum RetainHandling {
    /// Send them at every SUBSCRIBE.
    #[default]
    Send = 0,
    /// Send them only if the subscription is new.
    SendIfNew = 1,
    /// Do not send them.
    DoNotSend = 2,
}
