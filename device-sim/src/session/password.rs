//! A login with user name and password (MQTT 5 §3.1.3.5, §3.1.3.6): one packet each way, for brokers that know no keys.

use keygate_protocol::mqtt::{Packet, ReasonCode};

use super::login::{self, Plan};
use super::state::{Event, Profile, State};
use super::{Failure, Stage, Wanted, Wire};
use crate::clock::Micros;

/// CONNECT went out.
#[derive(Debug)]
pub(super) struct AwaitConnack {
    plan: Plan,
}

impl AwaitConnack {
    pub(super) fn open(
        profile: &Profile,
        id: &str,
        password: &str,
        wanted: Option<Wanted>,
        out: &mut Vec<u8>,
    ) -> Result<Self, Failure> {
        let mut connect = login::connect(profile, id);
        connect.username = Some(id);
        connect.password = Some(password.as_bytes());
        connect
            .encode(&mut Wire(out))
            .map_err(|_| Failure::TooLarge)?;
        let plan = Plan {
            keep_alive_s: profile.keep_alive_s,
            wanted,
        };
        Ok(Self { plan })
    }

    pub(super) fn handle<'a>(
        self,
        packet: Packet<'_>,
        now: Micros,
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Event<'_>),
    ) -> Result<State<'a>, Failure> {
        let connack = match packet {
            Packet::Connack(connack) if connack.code == ReasonCode::Success => connack,
            other => return Err(State::out_of_order(Stage::Confirmation, &other)),
        };
        heard(Event::LoggedIn { proven: false });
        self.plan.go_on(&connack.properties, now, out)
    }
}
