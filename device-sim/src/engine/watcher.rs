//! The watcher: rumqttc, a client that we did not write, so that the proof that nothing was lost does not come from the
//! code that sent it. It cannot do AUTH and logs in with a signed assertion as password (SPEC.md §6), or with a plain
//! password where the fleet does.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use keygate_protocol::assertion::{Assertion, Freshness, LIFE_S_MAX};
use keygate_protocol::ident::Id;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use tokio::time::timeout;

use super::channel::Door;
use super::error::RunError;
use super::fleet::Field;
use super::relay::Relay;
use super::streams::EVENTS_FILTER;
use crate::clock::{self, Clock, Micros};
use crate::enrol::hex;
use crate::identity::{Cast, Member};
use crate::payload;
use crate::random::fresh;
use crate::scenario::{Login, Reader, Scenario, Stream};
use crate::target::Target;

/// How long logging in and subscribing may take, s.
const READY_S: u64 = 10;

/// How long saying goodbye may take, s.
const GOODBYE_S: u64 = 2;

/// Where reports are.
const REPORTED_FILTER: &str = "devices/+/reported";

/// rumqttc's own queue of requests; the watcher makes three.
const REQUESTS: usize = 4;

/// A watcher that is subscribed.
pub(super) struct Watcher {
    client: AsyncClient,
    events: EventLoop,
    id: String,
    filters: &'static [&'static str],
    _relay: Relay,
}

impl Watcher {
    /// Logs in and subscribes.
    pub(super) async fn start(
        target: &Target,
        mqtt: &Door,
        clock: Clock,
        scenario: &Scenario,
        cast: &Cast,
        enrol: &str,
    ) -> Result<Self, RunError> {
        let id = cast.id(Member::Watcher);
        let password = match scenario.fleet.login {
            Login::KgEd25519 => assertion(cast, &id, &target.broker_id)?,
            Login::Password => cast.password(Member::Watcher),
        };
        let deadline = clock.now().plus(Micros::from_secs(READY_S).0);
        let relay = Relay::open(mqtt, clock, deadline).await;
        let relay =
            relay.map_err(|failure| RunError::of_helper(&id, target.mqtt, enrol, &failure))?;
        let options = options(
            relay.address,
            &id,
            password,
            scenario.fleet.session_expiry_s,
        );
        let (client, events) = AsyncClient::new(options, REQUESTS);
        // It asks for what comes only: a filter that nothing matches still costs the broker a look.
        let watched = |stream: &Stream| stream.to == Reader::Watcher;
        let has_events = scenario.streams.iter().any(watched);
        let filters: &[&str] = match (scenario.reports_each() > 0, has_events) {
            (true, true) => &[REPORTED_FILTER, EVENTS_FILTER],
            (false, true) => &[EVENTS_FILTER],
            (_, false) => &[REPORTED_FILTER],
        };
        let mut watcher = Self {
            client,
            events,
            id,
            filters,
            _relay: relay,
        };
        let not_ready = |reason: String| RunError::NotReady {
            id: cast.id(Member::Watcher),
            reason,
            advice: None,
        };
        match timeout(Duration::from_secs(READY_S), watcher.subscribe()).await {
            Err(_) => Err(not_ready(format!("no answer within {READY_S} s"))),
            Ok(Ok(SubscribeReasonCode::Success(QoS::AtLeastOnce))) => Ok(watcher),
            Ok(Ok(code)) => Err(RunError::NotReady {
                id: watcher.id,
                reason: format!(
                    "its subscription to {} was answered with {code:?}",
                    watcher.filters.join(" and ")
                ),
                advice: Some("it needs the role `operator`: enrol it with `device-sim enrol`"),
            }),
            Ok(Err(error)) => match refusal(&error) {
                Some(reason) => Err(RunError::NotEnrolled {
                    id: watcher.id,
                    reason,
                    enrol: enrol.to_owned(),
                }),
                None if is_connection_refused(&error) => Err(RunError::NothingListens(target.mqtt)),
                None => Err(not_ready(error.to_string())),
            },
        }
    }

    async fn subscribe(&mut self) -> Result<SubscribeReasonCode, ConnectionError> {
        // The queue is empty: this cannot fail.
        for filter in self.filters {
            let _ = self.client.try_subscribe(*filter, QoS::AtLeastOnce);
        }
        let mut granted = 0;
        loop {
            let Event::Incoming(Packet::SubAck(suback)) = self.events.poll().await? else {
                continue;
            };
            let code = suback.return_codes.first().copied();
            granted += 1;
            match code.unwrap_or(SubscribeReasonCode::Unspecified) {
                SubscribeReasonCode::Success(QoS::AtLeastOnce) if granted < self.filters.len() => {}
                last => return Ok(last),
            }
        }
    }

    /// Records everything that comes until the run stops.
    pub(super) async fn watch(mut self, field: &Field) {
        let mut stop = field.stop.clone();
        loop {
            let event = tokio::select! {
                event = self.events.poll() => event,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match event {
                Ok(Event::Incoming(Packet::Publish(publish))) => record(field, &publish),
                Ok(_) => {}
                Err(error) => {
                    // It does not come back by itself: a gap in the watch would look like a loss, or hide one.
                    field
                        .shared
                        .record(|recorder| recorder.broken(&self.id, format!("watcher: {error}")));
                    return;
                }
            }
        }
        let _ = self.client.try_disconnect();
        let goodbye = async { while self.events.poll().await.is_ok() {} };
        let _ = timeout(Duration::from_secs(GOODBYE_S), goodbye).await;
    }
}

fn record(field: &Field, publish: &Publish) {
    // Another run's message, or no message of a run.
    let Some(mark) = payload::read(field.crew.tag, &publish.payload) else {
        return;
    };
    let topic = std::str::from_utf8(&publish.topic).unwrap_or_default();
    let now = field.shared.clock.now();
    field
        .shared
        .record(|recorder| recorder.watched(&field.crew, topic, mark, publish.dup, now));
}

/// rumqttc, set up to take the load of a whole fleet.
fn options(target: SocketAddr, id: &str, password: String, session_expiry_s: u32) -> MqttOptions {
    let mut options = MqttOptions::new(id, target.ip().to_string(), target.port());
    options
        .set_credentials(id, password)
        // It pings whether or not anything else moves and gives up when one ping is not answered before the next.
        .set_keep_alive(Duration::from_secs(30))
        .set_clean_start(true)
        .set_connection_timeout(READY_S)
        // As many unacknowledged messages as the broker cares to have under way.
        .set_receive_maximum(Some(1_024))
        // Its default refuses messages above 10 kB; documents are up to 8 KiB and come with properties.
        .set_max_packet_size(Some(64 * 1024))
        // It publishes nothing; its default reserves room for 65535 messages under way.
        .set_outgoing_inflight_upper_limit(8);
    if session_expiry_s > 0 {
        options.set_session_expiry_interval(Some(session_expiry_s));
    }
    options
}

fn assertion(cast: &Cast, id: &str, broker_id: &str) -> Result<String, RunError> {
    let now = clock::wall();
    let jti = hex(&fresh::<16>()?);
    let cannot = |reason: String| RunError::NotReady {
        id: id.to_owned(),
        reason,
        advice: None,
    };
    let assertion = Assertion {
        id: Id::new(id).map_err(|error| cannot(error.to_string()))?,
        broker_id: Id::new(broker_id).map_err(|error| cannot(error.to_string()))?,
        client_id: Some(id),
        freshness: Freshness::Times {
            issued_at: now,
            expires_at: now.plus(LIFE_S_MAX),
            jti: &jti,
        },
    };
    let text = assertion
        .sign(&mut cast.signer(Member::Watcher))
        .map_err(|error| cannot(error.to_string()))?;
    Ok(text.as_str().to_owned())
}

/// The broker's reason, if it refused the login.
fn refusal(error: &ConnectionError) -> Option<String> {
    let code = match error {
        ConnectionError::ConnectionRefused(code) => *code,
        ConnectionError::MqttState(StateError::ConnFail { reason }) => *reason,
        _ => return None,
    };
    let refused = matches!(
        code,
        ConnectReturnCode::NotAuthorized
            | ConnectReturnCode::BadUserNamePassword
            | ConnectReturnCode::BadClientId
            | ConnectReturnCode::ClientIdentifierNotValid
    );
    refused.then(|| format!("{code:?}"))
}

fn is_connection_refused(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}
