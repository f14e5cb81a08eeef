//! What a case is.
use keygate_protocol::mqtt::Version;

use super::target::Target;

/// One promise of MQTT, tried out. Its function's documentation names the statements that it holds the broker to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// The function's name.
    pub(super) name: &'static str,
    /// The versions in which it is run.
    pub(super) versions: &'static [Version],
    /// The broker that it needs.
    pub(super) ground: Ground,
    /// It lets real time pass, so it is started before those that do not.
    pub(super) waits: bool,
    /// Tries it; panics when the broker breaks the promise.
    pub(super) run: fn(&Target),
}

/// Which broker a case needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ground {
    /// Any: everybody may publish and subscribe everywhere.
    Open,
    /// One of ours with small limits and topics that are denied ([`TIGHT`](super::stage::TIGHT)).
    Tight,
    /// One that knows a device which can log in with `kg-ed25519`.
    Enrolled,
}

impl Case {
    /// A case for these versions on open ground.
    pub(super) const fn new(
        name: &'static str,
        versions: &'static [Version],
        run: fn(&Target),
    ) -> Self {
        Self {
            name,
            versions,
            ground: Ground::Open,
            waits: false,
            run,
        }
    }

    /// The same case, which lets real time pass.
    pub(super) const fn waiting(self) -> Self {
        Self {
            waits: true,
            ..self
        }
    }

    /// The same case, on another broker.
    pub(super) const fn on(self, ground: Ground) -> Self {
        Self { ground, ..self }
    }
}

/// A chapter: one file of cases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chapter {
    /// The file's name.
    pub(super) name: &'static str,
    /// The file's text: its documentation names the statements.
    pub(super) source: &'static str,
    /// Its cases.
    pub(super) cases: &'static [Case],
}

/// A case for both versions.
macro_rules! both {
    ($function:ident) => {
        $crate::mqtt::case::Case::new(
            stringify!($function),
            &[
                keygate_protocol::mqtt::Version::V311,
                keygate_protocol::mqtt::Version::V5,
            ],
            $function,
        )
    };
}

/// A case for MQTT 5.
macro_rules! v5 {
    ($function:ident) => {
        $crate::mqtt::case::Case::new(
            stringify!($function),
            &[keygate_protocol::mqtt::Version::V5],
            $function,
        )
    };
}

/// A case for MQTT 3.1.1.
macro_rules! v311 {
    ($function:ident) => {
        $crate::mqtt::case::Case::new(
            stringify!($function),
            &[keygate_protocol::mqtt::Version::V311],
            $function,
        )
    };
}

/// The chapters of these files.
macro_rules! chapters {
    ($($name:ident),+ $(,)?) => {
        &[$($crate::mqtt::case::Chapter {
            name: stringify!($name),
            source: include_str!(concat!(stringify!($name), ".rs")),
            cases: $crate::mqtt::$name::CASES,
        }),+]
    };
}

pub(super) use {both, chapters, v5, v311};
