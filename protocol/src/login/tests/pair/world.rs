//! How a world runs: logins start, the adversary has its way with each message, both ends do what they do.

use super::*;
use std::string::ToString;

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let honest = |client_id, seed: u8, known| Person {
            client_id,
            key: Recorder::new([seed; 32]),
            honest: true,
            known,
        };
        let mut people = std::vec![
            honest("dev1", 1, true),
            honest("dev2", 2, true),
            honest("ghost", 3, false)
        ];
        let mut impostor = Person {
            honest: false,
            ..honest("dev1", 4, false)
        };
        impostor.key.claimed = people[0].key.key_id();
        people.push(impostor);
        let known = people.iter().filter(|person| person.known);
        let registered = known
            .map(|person| (person.key.key_id(), person.key.key.public_key()))
            .collect();
        let hostile = !rng.one_in(5);
        Self {
            rng,
            hostile,
            people,
            registered,
            identity: Recorder::new(BROKER_SEED),
            links: Vec::new(),
            wire: BTreeMap::new(),
            sent: 0,
            overheard: Vec::new(),
            accepted: Vec::new(),
            faults: [0; FAULTS],
        }
    }

    pub(super) fn run(&mut self) {
        for _ in 0..=self.rng.below(4) {
            self.connect();
        }
        for _ in 0..STEPS_MAX {
            let Some(((now, _), (number, message))) = self.wire.pop_first() else {
                return;
            };
            self.deliver(now, number, message);
        }
        panic!("the world does not come to rest");
    }

    fn connect(&mut self) {
        let person = self.rng.below(self.people.len());
        let pinned = !self.rng.one_in(3);
        let exporter = self.rng.one_in(3).then(|| self.rng.bytes());
        let opening = self.opening();
        let nonce = self.rng.bytes();
        let claims = &self.people[person];
        let mut login = device::Login::new(
            ClientId::new(claims.client_id).expect("a client id"),
            id(BROKER_ID),
            claims.key.key_id(),
        );
        if pinned {
            login = login.pin(self.identity.key.public_key());
        }
        if exporter.is_some() {
            login = login.bind_to_tls();
        }
        let client_id = claims.client_id.to_string();
        let (state, data) = login.open(nonce, opening);
        let believed = View {
            client_id: client_id.clone(),
            open: Open::decode(&data).expect("our own open"),
            broker_nonce: [0; 32],
            binding_value: exporter,
            opening,
        };
        self.links.push(Link {
            person,
            pinned,
            exporter,
            client: Client::AwaitChallenge(state),
            server: Server::Fresh,
            disturbed: false,
            believed: Some(believed),
            heard: None,
        });
        let start = Millis(self.rng.below(60_000) as u64);
        let message = Message::Connect {
            client_id,
            opening,
            data: data.to_vec(),
        };
        self.send(start, self.links.len() - 1, message);
    }

    fn opening(&mut self) -> Opening {
        match self.rng.below(3) {
            0 => Opening::reauthentication(),
            1 => Opening::connect(true, 0, None),
            _ => Opening::connect(false, 3600, None),
        }
    }

    fn send(&mut self, now: Millis, number: usize, mut message: Message) {
        let mut arrival = now.plus(1 + self.rng.below(50) as u64);
        let heard = message.data_mut().map(|data| data.clone());
        if self.hostile && self.rng.one_in(4) {
            let fault = self.rng.below(FAULTS);
            self.faults[fault] += 1;
            self.links[number].disturbed = true;
            match fault {
                0 => return self.overheard.extend(heard),
                1 => {
                    let again = arrival.plus(1 + self.rng.below(40) as u64);
                    self.put(again, number, message.clone());
                }
                2 => arrival = now.plus(CHALLENGE_LIFE_MS - 60 + self.rng.below(120) as u64),
                3 => {
                    let other = self.rng.below(self.links.len());
                    self.links[other].disturbed = true;
                    self.put(arrival, other, message.clone());
                }
                _ => self.alter(fault, &mut message),
            }
        }
        self.overheard.extend(heard);
        self.put(arrival, number, message);
    }

    fn alter(&mut self, fault: usize, message: &mut Message) {
        if let (
            9,
            Message::Connect {
                client_id, opening, ..
            },
        ) = (fault, &mut *message)
        {
            if self.rng.one_in(2) {
                *client_id = "dev2".to_string();
            } else {
                *opening = Opening::connect(true, 1, None);
            }
            return;
        }
        let overheard = match self.overheard.len() {
            0 => Vec::new(),
            len => self.overheard[self.rng.below(len)].clone(),
        };
        if let (8, Message::Connack(data)) = (fault, &mut *message) {
            *data = if data.is_some() {
                None
            } else {
                Some(overheard)
            };
            return;
        }
        let Some(data) = message.data_mut() else {
            return;
        };
        match fault {
            4 if !data.is_empty() => {
                let at = self.rng.below(data.len());
                data[at] ^= 1 << self.rng.below(8);
            }
            5 => data.truncate(self.rng.below(data.len())),
            6 => data.push(self.rng.next() as u8),
            // Replay and reflection: anything that ever was on the wire, in either direction.
            _ => *data = overheard,
        }
    }

    fn put(&mut self, arrival: Millis, number: usize, message: Message) {
        self.sent += 1;
        self.wire.insert((arrival, self.sent), (number, message));
    }

    fn deliver(&mut self, now: Millis, number: usize, message: Message) {
        match message {
            Message::Connect {
                client_id,
                opening,
                data,
            } => self.broker_connect(now, number, &client_id, opening, &data),
            Message::Proof(data) => self.broker_proof(now, number, &data),
            Message::Challenge(data) => self.device_challenge(now, number, &data),
            Message::Connack(data) => self.device_connack(number, data.as_deref()),
        }
    }

    fn broker_connect(
        &mut self,
        now: Millis,
        number: usize,
        client_id: &str,
        opening: Opening,
        data: &[u8],
    ) {
        let broker_nonce = self.rng.bytes();
        let key_ids = [self.identity.key_id()];
        let arrived = ChallengeContext {
            client_id,
            broker_id: id(BROKER_ID),
            broker_key_ids: &key_ids,
            opening,
            binding: BindingPolicy::Optional,
            broker_nonce,
            now,
        };
        let link = &mut self.links[number];
        if !matches!(link.server, Server::Fresh) {
            // A second CONNECT is a protocol error (MQTT 5 §3.1); the machine is dropped.
            link.server = Server::Closed(None);
            return;
        }
        match broker::challenge(data, &arrived) {
            Ok((state, challenge)) => {
                link.heard = Some(View {
                    client_id: client_id.to_string(),
                    open: Open::decode(data).expect("it was just read"),
                    broker_nonce,
                    binding_value: state.exporter_context().and(link.exporter),
                    opening,
                });
                link.server = Server::AwaitProof(state.into(), now);
                self.send(now, number, Message::Challenge(challenge.to_vec()));
            }
            Err(refusal) => link.server = Server::Closed(Some(refusal)),
        }
    }

    fn broker_proof(&mut self, now: Millis, number: usize, data: &[u8]) {
        let link = &mut self.links[number];
        let server = core::mem::replace(&mut link.server, Server::Closed(None));
        let Server::AwaitProof(state, challenged_at) = server else {
            return;
        };
        let view = link.heard.clone().expect("a challenge went out");
        let value = state.exporter_context().and(link.exporter);
        let key_id = state.key_id();
        let result = match self.registered.get(&key_id) {
            Some(key) => state.verify(data, key, value.as_ref(), now),
            None => Err(state.verify_unknown(data, value.as_ref(), now)),
        };
        let proven = match result {
            Ok(proven) => proven,
            Err(refusal) => return link.server = Server::Closed(Some(refusal)),
        };
        link.server = Server::Accepted;
        self.accepted.push(Accepted {
            connection: number,
            proof: data.to_vec(),
            view,
            challenged_at,
            at: now,
        });
        let confirmation = proven.wants_broker_proof().map(|_| {
            let signature = proven
                .sign_confirmation(&mut self.identity)
                .expect("our only identity key");
            signature.as_bytes().to_vec()
        });
        self.send(now, number, Message::Connack(confirmation));
    }

    fn device_challenge(&mut self, now: Millis, number: usize, data: &[u8]) {
        let link = &mut self.links[number];
        let client = core::mem::replace(&mut link.client, Client::Left(None));
        let Client::AwaitChallenge(state) = client else {
            return;
        };
        let signer = &mut self.people[link.person].key;
        let answered = state
            .read(data)
            .and_then(|state| state.answer(link.exporter.as_ref(), signer));
        match answered {
            Ok((next, proof)) => {
                if let Some(view) = &mut link.believed {
                    view.broker_nonce = data[3..35].try_into().expect("a challenge");
                }
                link.client = Client::AwaitConfirmation(next);
                self.send(now, number, Message::Proof(proof.as_bytes().to_vec()));
            }
            Err(error) => link.client = Client::Left(Some(error)),
        }
    }

    fn device_connack(&mut self, number: usize, data: Option<&[u8]>) {
        let link = &mut self.links[number];
        let client = core::mem::replace(&mut link.client, Client::Left(None));
        link.client = match client {
            Client::AwaitConfirmation(state) => match state.confirm(data) {
                Ok(done) => Client::Confirmed {
                    broker_proved: done.broker_proved(),
                },
                Err(error) => Client::Left(Some(error)),
            },
            // A second CONNACK ends the connection, and what was believed before it stays true.
            confirmed @ Client::Confirmed { .. } => confirmed,
            Client::AwaitChallenge(_) | Client::Left(_) => Client::Left(None),
        };
    }
}
