use super::peer::{Copy, Draft, Hello, Seen};
use keygate_protocol::mqtt::{Qos, ReasonCode, SubscriptionOptions, Version};

/// A moment of the history. Of two things that a client does or sees, the later one has the higher.
pub(super) type Moment = usize;
pub(super) const NEVER: Moment = usize::MAX;
/// Milliseconds by which deadlines of the broker and of the history may differ.
const SLACK_MS: u64 = 4_000;

/// Between these two moments the broker did something, or perhaps it did not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Moment,
    pub(super) to: Moment,
    /// It surely did.
    pub(super) sure: bool,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) draft: Draft,
    pub(super) publisher: usize,
    pub(super) is_will: bool,
    /// When the broker let it in: once for each time that it was sent at QoS 1, else once.
    pub(super) effects: Vec<Span>,
    /// When it was sent first and last.
    pub(super) first_ms: u64,
    pub(super) sent_ms: u64,
    /// Nobody will send it again.
    is_over: bool,
    /// The connection that it was sent on has broken, so at QoS 0 it may be lost.
    in_doubt: bool,
}

/// A subscription with the options of one SUBSCRIBE.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) filter: &'static str,
    pub(super) options: SubscriptionOptions,
    pub(super) id: Option<u32>,
    /// It may be in force from here …
    pub(super) sent: Moment,
    /// … surely is from here …
    pub(super) sure: Moment,
    /// … surely was up to here …
    pub(super) fades: Moment,
    /// … and surely is not from here.
    pub(super) gone: Moment,
    /// When the client asked for its end.
    pub(super) unsubscribed: Moment,
    pub(super) snapshot: Snapshot,
}

/// Whether its SUBSCRIBE asks for retained messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Snapshot {
    No,
    Perhaps,
    Yes,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: usize,
    pub(super) stands: Vec<Stand>,
    pub(super) copies: Vec<Came>,
    /// When its connections began.
    pub(super) starts: Vec<Moment>,
    pub(super) crashes: Vec<Moment>,
    expiry_s: u32,
    /// It has been at rest once, so the log has it.
    is_stored: bool,
    /// Its connection began, or its expiry changed, and there was no rest since.
    is_unsettled: bool,
    /// Nobody knows whether it is there.
    is_in_doubt: bool,
    /// A crash may have brought back what it was before its last CONNECT.
    pub(super) was_in_doubt: bool,
}

#[derive(Debug)]
pub(super) struct Came {
    pub(super) message: usize,
    pub(super) copy: Copy,
    pub(super) at: Moment,
    pub(super) ms: u64,
}

#[derive(Debug)]
struct Client {
    version: Version,
    session: Option<usize>,
    /// Connections: CONNACK and end.
    links: Vec<(Moment, Moment)>,
    hello: Option<(Hello, Moment)>,
    /// What the connection's end would publish, and after how long.
    will: Option<(Draft, u32)>,
    /// A will whose delay runs: when it is due.
    waiting_will: Option<(Draft, u64)>,
    /// Wills that a new connection has replaced, while the log may not know it.
    replaced_wills: Vec<Draft>,
    ended_ms: u64,
    /// The broker has had time to notice the end.
    end_is_known: bool,
    /// The last CONNECT may have been heard, and its answer was lost.
    attempt_is_lost: bool,
}

/// What the clients did and saw.
#[derive(Debug)]
pub(super) struct History {
    pub(super) now: Moment,
    pub(super) ms: u64,
    /// The last rest: what was answered before it is in the log.
    rested: Moment,
    pub(super) messages: Vec<Message>,
    pub(super) sessions: Vec<Session>,
    clients: Vec<Client>,
    requests: Vec<Request>,
}

#[derive(Debug)]
enum Request {
    Subscribe { session: usize, stands: Vec<usize> },
    Unsubscribe { session: usize, stands: Vec<usize> },
}

impl History {
    pub(super) fn new(versions: &[Version]) -> Self {
        let client = |&version| Client {
            version,
            session: None,
            links: Vec::new(),
            hello: None,
            will: None,
            waiting_will: None,
            replaced_wills: Vec::new(),
            ended_ms: 0,
            end_is_known: true,
            attempt_is_lost: false,
        };
        Self {
            now: 0,
            ms: 0,
            rested: 0,
            messages: Vec::new(),
            sessions: Vec::new(),
            clients: versions.iter().map(client).collect(),
            requests: Vec::new(),
        }
    }

    /// Something else happens now.
    pub(super) fn tick(&mut self, ms: u64) -> Moment {
        self.ms = ms;
        self.now += 1;
        self.now
    }

    pub(super) fn version(&self, client: usize) -> Version {
        self.clients[client].version
    }

    /// The session that the client has or last had.
    pub(super) fn session_of(&self, client: usize) -> Option<usize> {
        self.clients[client].session
    }

    /// Whether the client was connected all the time between these moments.
    pub(super) fn was_connected(&self, client: usize, from: Moment, to: Moment) -> bool {
        let links = &self.clients[client].links;
        links.iter().any(|(begin, end)| *begin < from && *end > to)
    }

    /// Whether a connection of the client ended between these moments.
    pub(super) fn lost_connection(&self, client: usize, from: Moment, to: Moment) -> bool {
        let links = &self.clients[client].links;
        links.iter().any(|(_, end)| (from..=to).contains(end))
    }

    /// Whether the client waits for its CONNACK.
    pub(super) fn is_connecting(&self, client: usize) -> bool {
        self.clients[client].hello.is_some()
    }

    fn is_connected(&self, client: usize) -> bool {
        self.clients[client]
            .links
            .last()
            .is_some_and(|(_, end)| *end == NEVER)
    }

    /// The client sends CONNECT; a connection that it has is taken over.
    pub(super) fn connects(&mut self, client: usize, hello: &Hello) {
        let now = self.now;
        if self.is_connected(client) {
            self.connection_ends(client, true, None);
        }
        // A delayed will is published when its session ends before its time, and is not when it goes on.
        if let Some((draft, due_ms)) = self.clients[client].waiting_will.take() {
            let in_time = self.ms + SLACK_MS < due_ms;
            if hello.clean || !in_time {
                self.will_goes_out(client, draft, hello.clean);
            } else {
                self.clients[client].replaced_wills.push(draft);
            }
        }
        self.clients[client].will.clone_from(&hello.will);
        self.clients[client].hello = Some((hello.clone(), now));
    }

    /// The connection ends; `with_will` unless the client said goodbye, `expiry_s` if the goodbye changes that.
    pub(super) fn connection_ends(&mut self, client: usize, with_will: bool, expiry: Option<u32>) {
        let (now, ms) = (self.now, self.ms);
        let state = &mut self.clients[client];
        if let Some((_, end)) = state.links.last_mut() {
            *end = now.min(*end);
        }
        state.ended_ms = ms;
        state.end_is_known = false;
        let will = state.will.take();
        let session = &mut self.sessions[state.session.expect("it was connected")];
        session.is_unsettled |= expiry.is_some();
        session.expiry_s = expiry.unwrap_or(session.expiry_s);
        if session.expiry_s == 0 {
            for stand in &mut session.stands {
                stand.fades = stand.fades.min(now);
            }
        }
        let expiry_s = session.expiry_s;
        for message in &mut self.messages {
            message.in_doubt |= message.publisher == client && with_will;
        }
        let Some((draft, delay_s)) = will.filter(|_| with_will) else {
            return;
        };
        match delay_s.min(expiry_s) {
            0 => self.will_goes_out(client, draft, true),
            delay_s => {
                let due_ms = ms + u64::from(delay_s) * 1_000;
                self.clients[client].waiting_will = Some((draft, due_ms));
            }
        }
    }

    fn will_goes_out(&mut self, client: usize, draft: Draft, sure: bool) {
        self.publishes(client, draft, true);
        if let Some(message) = self.messages.last_mut() {
            message.in_doubt = !sure;
        }
    }

    pub(super) fn publishes(&mut self, client: usize, mut draft: Draft, is_will: bool) -> Draft {
        draft.message = self.messages.len();
        self.messages.push(Message {
            draft: draft.clone(),
            publisher: client,
            is_will,
            effects: vec![Span {
                from: self.now,
                to: NEVER,
                sure: false,
            }],
            first_ms: self.ms,
            sent_ms: self.ms,
            is_over: false,
            in_doubt: false,
        });
        draft
    }

    pub(super) fn subscribes(
        &mut self,
        client: usize,
        filters: &[(&'static str, SubscriptionOptions)],
        id: Option<u32>,
    ) -> usize {
        let now = self.now;
        let index = self.clients[client].session.expect("it is connected");
        let session = &mut self.sessions[index];
        let mut stands = Vec::new();
        for (filter, options) in filters {
            let snapshot = snapshot_of(session, filter, *options, now);
            for stand in session.stands.iter_mut().filter(|s| s.filter == *filter) {
                stand.fades = stand.fades.min(now);
            }
            stands.push(session.stands.len());
            session.stands.push(Stand {
                filter,
                options: *options,
                id,
                sent: now,
                sure: NEVER,
                fades: NEVER,
                gone: NEVER,
                unsubscribed: NEVER,
                snapshot,
            });
        }
        self.requests.push(Request::Subscribe {
            session: index,
            stands,
        });
        self.requests.len() - 1
    }

    pub(super) fn unsubscribes(&mut self, client: usize, filter: &str) -> usize {
        let now = self.now;
        let index = self.clients[client].session.expect("it is connected");
        let mut stands = Vec::new();
        for (at, stand) in self.sessions[index].stands.iter_mut().enumerate() {
            if stand.filter == filter && stand.gone == NEVER {
                stand.fades = stand.fades.min(now);
                stand.unsubscribed = stand.unsubscribed.min(now);
                stands.push(at);
            }
        }
        self.requests.push(Request::Unsubscribe {
            session: index,
            stands,
        });
        self.requests.len() - 1
    }

    pub(super) fn sees(&mut self, client: usize, seen: Seen) {
        let now = self.now;
        match seen {
            Seen::Connack { present } => self.connack(client, present),
            Seen::Acknowledged(message) => {
                let message = &mut self.messages[message];
                message.is_over = true;
                if let Some(effect) = message.effects.last_mut() {
                    *effect = Span {
                        to: now,
                        sure: true,
                        ..*effect
                    };
                }
            }
            Seen::GivenUp(message) => self.messages[message].is_over = true,
            Seen::SentAgain(index) => {
                let message = &mut self.messages[index];
                message.sent_ms = self.ms;
                if message.draft.qos == Qos::AtLeastOnce {
                    if let Some(effect) = message.effects.last_mut() {
                        effect.to = effect.to.min(now);
                    }
                    message.effects.push(Span {
                        from: now,
                        to: NEVER,
                        sure: false,
                    });
                }
            }
            Seen::Suback(request, codes) => self.suback(request, &codes),
            Seen::Unsuback(request) => {
                let Request::Unsubscribe { session, stands } = &self.requests[request] else {
                    panic!("UNSUBACK answers SUBSCRIBE");
                };
                for at in stands {
                    let stand = &mut self.sessions[*session].stands[*at];
                    stand.gone = stand.gone.min(now);
                }
            }
            Seen::Came(copy) => {
                // What deletes a retained message cannot be told from another that does.
                if !copy.payload.is_empty() {
                    let message = self.message_named(&copy);
                    let session = self.clients[client].session.expect("it is connected");
                    let ms = self.ms;
                    self.sessions[session].copies.push(Came {
                        message,
                        copy,
                        at: now,
                        ms,
                    });
                }
            }
            Seen::Ended(code) => panic!("client {client} was disconnected: {code:?}"),
        }
    }

    fn message_named(&self, copy: &Copy) -> usize {
        let mut drafts = self.messages.iter().map(|message| &message.draft);
        let at = drafts.position(|d| d.payload == copy.payload && d.topic == copy.topic);
        at.unwrap_or_else(|| panic!("{copy:?} came, and nobody published it"))
    }

    fn suback(&mut self, request: usize, codes: &[ReasonCode]) {
        let now = self.now;
        let Request::Subscribe { session, stands } = &self.requests[request] else {
            panic!("SUBACK answers UNSUBSCRIBE");
        };
        let session = &mut self.sessions[*session];
        assert_eq!(codes.len(), stands.len());
        for (at, code) in stands.iter().zip(codes) {
            let (before, behind) = session.stands.split_at_mut(*at);
            let stand = &mut behind[0];
            let granted = match stand.options.qos {
                Qos::AtMostOnce => ReasonCode::Success,
                Qos::AtLeastOnce => ReasonCode::GrantedQos1,
                Qos::ExactlyOnce => ReasonCode::GrantedQos2,
            };
            assert_eq!(*code, granted, "{}", stand.filter);
            stand.sure = now;
            for old in before.iter_mut().filter(|old| old.filter == stand.filter) {
                old.gone = old.gone.min(now);
            }
        }
    }

    fn connack(&mut self, client: usize, present: bool) {
        let (now, ms) = (self.now, self.ms);
        let state = &mut self.clients[client];
        let (hello, sent) = state.hello.take().expect("CONNACK answers CONNECT");
        state.links.push((now, NEVER));
        let expiry_s = match (state.version, hello.clean) {
            (Version::V5, _) => hello.expiry_s,
            (Version::V311, true) => 0,
            (Version::V311, false) => u32::MAX,
        };
        let away_ms = ms.saturating_sub(state.ended_ms);
        let (may, must) = match state.session.map(|index| &self.sessions[index]) {
            Some(session) if !hello.clean && session.is_in_doubt => (true, false),
            Some(session) if !hello.clean && session.expiry_s == 0 => (!state.end_is_known, false),
            Some(session) if !hello.clean => {
                let expiry_ms = u64::from(session.expiry_s) * 1_000;
                let may = away_ms <= expiry_ms + SLACK_MS;
                let must = away_ms + SLACK_MS < expiry_ms;
                (may, must && session.is_stored)
            }
            _ => (false, false),
        };
        let attempt_was_lost = std::mem::take(&mut state.attempt_is_lost);
        let may = may || (attempt_was_lost && !hello.clean);
        assert!(may || !present, "client {client} has an old session");
        assert!(!must || present, "client {client} has lost its session");
        match state.session.filter(|_| present) {
            Some(session) => {
                let session = &mut self.sessions[session];
                session.expiry_s = expiry_s;
                session.is_stored &= expiry_s > 0;
                session.is_unsettled = true;
                session.is_in_doubt = false;
                session.starts.push(now);
            }
            None => {
                if let Some(old) = state.session {
                    for stand in &mut self.sessions[old].stands {
                        stand.fades = stand.fades.min(sent);
                        stand.gone = stand.gone.min(now);
                    }
                }
                self.clients[client].session = Some(self.sessions.len());
                self.sessions.push(Session {
                    client,
                    stands: Vec::new(),
                    copies: Vec::new(),
                    starts: vec![now],
                    crashes: Vec::new(),
                    expiry_s,
                    is_stored: false,
                    is_unsettled: true,
                    is_in_doubt: false,
                    was_in_doubt: attempt_was_lost,
                });
            }
        }
    }

    /// Everything has come to rest: what was sent has arrived.
    pub(super) fn rests(&mut self) {
        let now = self.now;
        self.rested = now;
        for index in 0..self.messages.len() {
            let connected = self.is_connected(self.messages[index].publisher);
            let message = &mut self.messages[index];
            let once = message.draft.qos == Qos::AtMostOnce || message.is_will;
            let Some(effect) = message.effects.last_mut().filter(|e| e.to == NEVER) else {
                continue;
            };
            if once {
                effect.to = now;
                effect.sure = !message.in_doubt;
                message.is_over = true;
            } else if message.is_over || message.draft.qos == Qos::AtLeastOnce {
                assert!(
                    message.is_over || !connected,
                    "m{index} is not acknowledged at rest"
                );
                effect.to = now;
            }
        }
        for client in &mut self.clients {
            client.end_is_known = true;
            client.replaced_wills.clear();
            let Some(session) = client.session else {
                continue;
            };
            let session = &mut self.sessions[session];
            session.is_stored |= session.expiry_s > 0;
            session.is_unsettled = false;
            let connected = client.links.last().is_some_and(|(_, end)| *end == NEVER);
            if session.expiry_s == 0 && !connected {
                for stand in &mut session.stands {
                    stand.gone = stand.gone.min(now);
                }
            }
        }
    }

    /// Time is about to pass, until then; everything is at rest.
    pub(super) fn waits_until(&mut self, ms: u64) {
        let now = self.now;
        for client in 0..self.clients.len() {
            if self.is_connected(client) {
                continue;
            }
            let state = &mut self.clients[client];
            if let Some((draft, due_ms)) = state.waiting_will.take() {
                if ms + SLACK_MS < due_ms {
                    state.waiting_will = Some((draft, due_ms));
                } else {
                    self.will_goes_out(client, draft, ms >= due_ms + SLACK_MS);
                }
            }
            let state = &self.clients[client];
            if let Some(session) = state.session {
                let session = &mut self.sessions[session];
                let ends_ms = state.ended_ms + u64::from(session.expiry_s) * 1_000;
                if ms + SLACK_MS >= ends_ms {
                    for stand in &mut session.stands {
                        stand.fades = stand.fades.min(now);
                    }
                }
            }
        }
    }

    /// The broker is gone, and comes back with what its log kept.
    pub(super) fn crashes(&mut self) {
        let now = self.now;
        for message in self
            .messages
            .iter_mut()
            .filter(|m| m.effects.iter().any(|e| e.to == NEVER))
        {
            message.in_doubt = true;
            if message.is_will {
                // It may be published once more.
                message.effects.insert(0, WHENEVER);
            }
        }
        for client in 0..self.clients.len() {
            let will = self.clients[client].will.clone();
            if self.is_connected(client) {
                self.connection_ends(client, true, None);
            }
            let state = &mut self.clients[client];
            if !state.end_is_known {
                state.ended_ms = self.ms;
            }
            if let Some((hello, sent)) = state.hello.take() {
                state.attempt_is_lost = true;
                if let Some(session) = state.session {
                    self.sessions[session].is_in_doubt = true;
                    self.sessions[session].was_in_doubt = true;
                    for stand in &mut self.sessions[session].stands {
                        stand.fades = stand.fades.min(sent);
                    }
                }
                if let Some((draft, _)) = hello.will {
                    self.will_whenever(client, draft);
                }
            } else if let Some((draft, _)) = will {
                // It may be lost, or go out after the restart.
                let known = self
                    .messages
                    .iter_mut()
                    .find(|m| m.draft.payload == draft.payload);
                match known {
                    Some(message) => {
                        message.in_doubt = true;
                        message.effects.insert(0, WHENEVER);
                    }
                    None => self.will_whenever(client, draft),
                }
            }
            for draft in std::mem::take(&mut self.clients[client].replaced_wills) {
                self.will_whenever(client, draft);
            }
            let waiting = self.clients[client].waiting_will.take();
            let is_known = |draft: &Draft| {
                let mut known = self.messages.iter();
                known.any(|message| message.draft.payload == draft.payload)
            };
            if let Some((draft, _)) = waiting.filter(|(draft, _)| !is_known(draft)) {
                self.will_whenever(client, draft);
            }
            if let Some(session) = self.clients[client].session {
                let session = &mut self.sessions[session];
                session.crashes.push(now);
                // SUBACK and UNSUBACK do not wait for the log.
                for stand in &mut session.stands {
                    if stand.sure > self.rested {
                        stand.fades = stand.fades.min(now);
                    }
                    if stand.gone > self.rested {
                        stand.gone = NEVER;
                    }
                }
                if session.is_unsettled {
                    session.is_in_doubt = true;
                    session.was_in_doubt = true;
                } else if session.expiry_s == 0 {
                    for stand in &mut session.stands {
                        stand.gone = stand.gone.min(now);
                    }
                }
            }
        }
    }

    /// A will that may be published at any time from now on, or never.
    fn will_whenever(&mut self, client: usize, draft: Draft) {
        self.will_goes_out(client, draft, false);
        if let Some(message) = self.messages.last_mut() {
            message.effects = vec![Span {
                from: self.now,
                ..WHENEVER
            }];
        }
    }
}

/// At any time, or never.
const WHENEVER: Span = Span {
    from: 0,
    to: NEVER - 1,
    sure: false,
};

fn snapshot_of(
    session: &Session,
    filter: &str,
    options: SubscriptionOptions,
    now: Moment,
) -> Snapshot {
    use keygate_protocol::mqtt::RetainHandling::{DoNotSend, Send, SendIfNew};
    let mut old = session.stands.iter().filter(|stand| stand.filter == filter);
    match options.retain_handling {
        _ if filter.starts_with("$share/") => Snapshot::No,
        Send => Snapshot::Yes,
        DoNotSend => Snapshot::No,
        SendIfNew if old.clone().all(|stand| stand.gone < now) => Snapshot::Yes,
        SendIfNew if old.any(|s| s.sure != NEVER && s.fades == NEVER) => Snapshot::No,
        SendIfNew => Snapshot::Perhaps,
    }
}
