//! What a CONNECT asks for and what it gets: the times that the broker may shorten.
use crate::limits::Limits;
use keygate_protocol::mqtt::{Connect, Version};

/// The times that hold for a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Terms {
    /// Seconds between packets of the client; 0 is no limit.
    pub(crate) keep_alive_s: u16,
    /// Seconds that the session outlives its connection; [`u32::MAX`] is for ever.
    pub(crate) session_expiry_s: u32,
    asked_keep_alive_s: u16,
    asked_expiry_s: u32,
}

impl Terms {
    /// The terms of this CONNECT.
    pub(crate) fn of(connect: &Connect<'_>, limits: &Limits) -> Self {
        let asked_expiry_s = match (connect.version, connect.clean_start) {
            (Version::V5, _) => connect.properties.session_expiry_s,
            (Version::V311, true) => 0,
            // It has no way to ask: its session stays as long as any may.
            (Version::V311, false) => limits.session_expiry_max_s,
        };
        let keep_alive_s = match connect.version {
            Version::V5 => keep_alive(connect.keep_alive_s, limits.keep_alive_max_s),
            // Nothing in its CONNACK could tell it to send more often.
            Version::V311 => connect.keep_alive_s,
        };
        Self {
            keep_alive_s,
            session_expiry_s: session_expiry(asked_expiry_s, limits),
            asked_keep_alive_s: connect.keep_alive_s,
            asked_expiry_s,
        }
    }

    /// The same where another broker has its say too: the shorter time holds.
    pub(crate) fn within(self, keep_alive_s: Option<u16>, session_expiry_s: Option<u32>) -> Self {
        Self {
            keep_alive_s: keep_alive(self.keep_alive_s, keep_alive_s.unwrap_or(0)),
            session_expiry_s: self
                .session_expiry_s
                .min(session_expiry_s.unwrap_or(u32::MAX)),
            ..self
        }
    }

    /// For Server Keep Alive of CONNACK: set if it is not what the client asked for (MQTT 5 §3.2.2.3.14).
    pub(crate) fn keep_alive_changed(&self) -> Option<u16> {
        (self.keep_alive_s != self.asked_keep_alive_s).then_some(self.keep_alive_s)
    }

    /// For Session Expiry Interval of CONNACK: set if it is not what the client asked for (MQTT 5 §3.2.2.3.2).
    pub(crate) fn session_expiry_capped(&self) -> Option<u32> {
        (self.session_expiry_s != self.asked_expiry_s).then_some(self.session_expiry_s)
    }
}

/// The session expiry that a client gets for what it asks, in CONNECT or DISCONNECT. [`u32::MAX`] is the longest of
/// all, so the smaller number is the earlier end.
pub(crate) fn session_expiry(asked_s: u32, limits: &Limits) -> u32 {
    asked_s.min(limits.session_expiry_max_s)
}

/// A limit holds for a client that wants none, too: 0 is the longest keep-alive, not the shortest.
fn keep_alive(asked_s: u16, max_s: u16) -> u16 {
    match (asked_s, max_s) {
        (asked, 0) => asked,
        (0, max) => max,
        (asked, max) => asked.min(max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const EXPIRY_NEVER: u32 = u32::MAX;

    fn terms(connect: Connect<'_>, keep_alive_max_s: u16, session_expiry_max_s: u32) -> Terms {
        let limits = Limits {
            keep_alive_max_s,
            session_expiry_max_s,
            ..Limits::default()
        };
        Terms::of(&connect, &limits)
    }

    #[test]
    fn keep_alive_is_capped_and_told() {
        for (asked, max, got, told) in [
            (60, 0, 60, None),
            (0, 0, 0, None),
            (60, 60, 60, None),
            (61, 60, 60, Some(60)),
            (u16::MAX, 60, 60, Some(60)),
            (1, 60, 1, None),
            (0, 60, 60, Some(60)),
            (0, u16::MAX, u16::MAX, Some(u16::MAX)),
        ] {
            let mut connect = Connect::new(Version::V5, "dev-1");
            connect.keep_alive_s = asked;
            let given = terms(connect, max, 0);
            assert_eq!(
                (given.keep_alive_s, given.keep_alive_changed()),
                (got, told),
                "asked {asked}, at most {max}"
            );
            // 3.1.1 cannot be told.
            connect.version = Version::V311;
            let given = terms(connect, max, 0);
            assert_eq!(
                (given.keep_alive_s, given.keep_alive_changed()),
                (asked, None)
            );
        }
    }

    #[test]
    fn of_two_brokers_the_shorter_time_holds_and_is_told() {
        let mut connect = Connect::new(Version::V5, "dev-1");
        connect.keep_alive_s = 60;
        connect.properties.session_expiry_s = 100;
        let asked = terms(connect, 0, EXPIRY_NEVER);
        let told = |terms: Terms| (terms.keep_alive_changed(), terms.session_expiry_capped());
        assert_eq!(told(asked.within(None, None)), (None, None));
        assert_eq!(told(asked.within(Some(0), Some(100))), (None, None));
        assert_eq!(told(asked.within(Some(90), Some(200))), (None, None));
        assert_eq!(told(asked.within(Some(30), Some(0))), (Some(30), Some(0)));
        let capped = terms(connect, 20, 10);
        assert_eq!(
            told(capped.within(Some(30), Some(50))),
            (Some(20), Some(10))
        );
    }

    #[test]
    fn session_expiry_is_capped_and_told() {
        for (asked, max, got, told) in [
            (0, 100, 0, None),
            (100, 100, 100, None),
            (101, 100, 100, Some(100)),
            (EXPIRY_NEVER, 100, 100, Some(100)),
            (EXPIRY_NEVER, EXPIRY_NEVER, EXPIRY_NEVER, None),
            (EXPIRY_NEVER - 1, EXPIRY_NEVER, EXPIRY_NEVER - 1, None),
            (5, 0, 0, Some(0)),
        ] {
            let mut connect = Connect::new(Version::V5, "dev-1");
            connect.properties.session_expiry_s = asked;
            for clean_start in [true, false] {
                connect.clean_start = clean_start;
                let given = terms(connect, 0, max);
                assert_eq!(
                    (given.session_expiry_s, given.session_expiry_capped()),
                    (got, told),
                    "asked {asked}, at most {max}"
                );
            }
        }
    }

    #[test]
    fn clean_session_0_gets_the_longest_expiry_there_is() {
        for (clean_start, max, got) in [
            (true, 100, 0),
            (false, 100, 100),
            (false, 0, 0),
            (false, EXPIRY_NEVER, EXPIRY_NEVER),
        ] {
            let mut connect = Connect::new(Version::V311, "dev-1");
            connect.clean_start = clean_start;
            let given = terms(connect, 0, max);
            assert_eq!(
                (given.session_expiry_s, given.session_expiry_capped()),
                (got, None)
            );
        }
    }
}
