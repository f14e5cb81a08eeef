//! Clients that log in, subscribe once and stay.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::ident::Id;
use keygate_protocol::login::device::Login;
use keygate_protocol::login::{ClientId, METHOD, Opening};
use keygate_protocol::mqtt::{
    self, Auth, Connect, Packet, PacketId, Qos, ReasonCode, Sender, Subscribe, Subscription,
    Version,
};
use keygate_protocol::sink::{CapacityError, Sink};
use keygate_protocol::topic::TopicFilter;

use keygate_tests::measure::{Kind, People, Server};

const PASSWORD: &str = "correct horse battery staple";

/// Logins at a time: a fleet that comes back does not wait in line.
const THREADS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// Everybody up to this number.
pub(crate) fn people(devices: usize) -> People {
    People {
        keys: (0..devices).map(enrolment).collect(),
        passwords: (0..devices)
            .map(|index| format!("{}:{PASSWORD}\n", id(index)))
            .collect(),
    }
}

/// The id of the client with this number.
fn id(index: usize) -> String {
    format!("device-{index:06}")
}

/// The line that enrols it.
fn enrolment(index: usize) -> String {
    let key = signer(index).public_key();
    let hex: String = key
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{{\"id\":\"{}\",\"public_key\":\"{hex}\"}}\n", id(index))
}

fn signer(index: usize) -> SoftwareSigner {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(index as u64).to_be_bytes());
    SoftwareSigner::from_seed(&seed)
}

/// Logs these clients in and keeps their connections.
pub(crate) fn log_in_all(server: &Server, clients: Range<usize>) -> Result<Vec<TcpStream>> {
    let share = clients.len().div_ceil(THREADS);
    let all: Vec<usize> = clients.collect();
    std::thread::scope(|scope| {
        let log_in_part = |part: &[usize]| {
            part.iter()
                .map(|&index| log_in(server, index))
                .collect::<Result<Vec<_>>>()
        };
        let threads: Vec<_> = all
            .chunks(share)
            .map(|part| scope.spawn(move || log_in_part(part)))
            .collect();
        let mut streams = Vec::new();
        for thread in threads {
            streams.extend(
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("a client panicked"))??,
            );
        }
        Ok(streams)
    })
}

fn log_in(server: &Server, index: usize) -> Result<TcpStream> {
    let mut client = Client {
        stream: TcpStream::connect(server.address)?,
        input: Vec::new(),
    };
    client.stream.set_nodelay(true)?;
    client.stream.set_read_timeout(Some(PATIENCE))?;
    let id = id(index);
    match server.kind {
        Kind::Keygate => client.prove(&id, &server.broker_id, &mut signer(index))?,
        Kind::Floor | Kind::Mosquitto | Kind::MosquittoSaving => client.give_password(&id)?,
    }
    client.subscribe(&id)?;
    Ok(client.stream)
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn prove(&mut self, id: &str, broker_id: &str, signer: &mut SoftwareSigner) -> Result<()> {
        let login = Login::new(
            ClientId::new(id)?,
            Id::new(broker_id)?,
            signer.public_key().key_id(),
        );
        let mut connect = Connect::new(Version::V5, id);
        connect.keep_alive_s = 600;
        let (state, data) = login.open([7; 16], Opening::of_connect(&connect));
        connect.properties.auth_method = Some(METHOD);
        connect.properties.auth_data = Some(&data);
        self.send(|sink| connect.encode(sink))?;
        let challenge = self.receive(|packet| match packet {
            Packet::Auth(auth) => auth.data.map(<[u8]>::to_vec),
            _ => None,
        })?;
        let (_, proof) = state.read(&challenge)?.answer(None, signer)?;
        let mut auth = Auth::new(ReasonCode::ContinueAuthentication, METHOD);
        auth.data = Some(proof.as_bytes());
        self.send(|sink| auth.encode(sink))?;
        self.accepted()
    }

    fn give_password(&mut self, id: &str) -> Result<()> {
        let mut connect = Connect::new(Version::V5, id);
        connect.keep_alive_s = 600;
        connect.username = Some(id);
        connect.password = Some(PASSWORD.as_bytes());
        self.send(|sink| connect.encode(sink))?;
        self.accepted()
    }

    fn accepted(&mut self) -> Result<()> {
        let code = self.receive(|packet| match packet {
            Packet::Connack(connack) => Some(connack.code),
            _ => None,
        })?;
        ensure!(code == ReasonCode::Success, "refused: {code:?}");
        Ok(())
    }

    fn subscribe(&mut self, id: &str) -> Result<()> {
        let filter = format!("devices/{id}/#");
        let wanted = [Subscription::new(
            TopicFilter::new(&filter)?,
            Qos::AtLeastOnce,
        )];
        self.send(|sink| Subscribe::new(PacketId::MIN, &wanted).encode(Version::V5, sink))?;
        self.receive(|packet| matches!(packet, Packet::Suback(_)).then_some(()))
    }

    fn send(&mut self, encode: impl FnOnce(&mut Bytes) -> Result<(), CapacityError>) -> Result<()> {
        let mut bytes = Bytes(Vec::new());
        encode(&mut bytes)?;
        self.stream.write_all(&bytes.0).context("sending")
    }

    /// The next packet, which must be the expected one.
    fn receive<T>(&mut self, take: impl FnOnce(&Packet<'_>) -> Option<T>) -> Result<T> {
        loop {
            if let Some(frame) = mqtt::frame(&self.input, u32::MAX)? {
                let len = frame.len();
                let packet = mqtt::decode(&frame, Sender::Server, Version::V5)?;
                let taken = take(&packet)
                    .with_context(|| format!("unexpected {:?}", packet.packet_type()))?;
                self.input.drain(..len);
                return Ok(taken);
            }
            let mut bytes = [0; 1_024];
            let count = self.stream.read(&mut bytes).context("receiving")?;
            ensure!(count > 0, "the server closed the connection");
            self.input.extend_from_slice(&bytes[..count]);
        }
    }
}

struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
