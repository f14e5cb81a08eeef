//! A CoAP client for one request at a time (RFC 7252), over UDP, waiting.
//!
//! It sends confirmable requests, repeats them as the RFC says, and takes the answer with the token of its request from
//! the address that it asked. Nothing that comes is believed here.

use super::failure::Failure;
use crate::clock::Clock;
use crate::rng::Random;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use keygate_protocol::coap::{Code, ContentFormat, Path, Received};
use keygate_protocol::time::Millis;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Port of a URL without one.
const PORT: u16 = 5683;
/// Largest datagram that is taken; ours are far smaller (RFC 7252 §4.6).
const DATAGRAM_MAX: usize = 1152;
/// First wait for an answer, in ms, times a random factor between 1 and 1.5 (RFC 7252 §4.8).
const ACK_TIMEOUT_MS: u64 = 2_000;
/// How often an unanswered request is repeated (RFC 7252 §4.8).
const RETRANSMIT_MAX: u32 = 4;
/// How long to wait for an answer that was promised by an empty acknowledgement: the broker answers at once.
const SEPARATE_MS: u64 = 10_000;

/// What is asked.
pub(super) struct Request<'a> {
    pub(super) code: Code,
    pub(super) path: &'a Path<'a>,
    pub(super) echo: Option<&'a [u8]>,
    pub(super) content_format: Option<ContentFormat>,
    pub(super) accept: Option<ContentFormat>,
    pub(super) payload: &'a [u8],
}

/// What was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Response {
    pub(super) code: Code,
    pub(super) echo: Option<Vec<u8>>,
    pub(super) content_format: Option<ContentFormat>,
    pub(super) max_age_s: Option<u32>,
    pub(super) payload: Vec<u8>,
}

impl Response {
    /// As the protocol crate takes it.
    pub(super) fn received(&self) -> Received<'_> {
        Received {
            code: self.code,
            echo: self.echo.as_deref(),
            content_format: self.content_format,
            max_age_s: self.max_age_s,
            payload: &self.payload,
        }
    }
}

/// A socket that talks to one broker.
pub(super) struct Client {
    socket: UdpSocket,
    peer: SocketAddr,
    clock: Arc<dyn Clock>,
    next_id: u16,
}

impl Client {
    /// A client for the broker at `coap://HOST[:PORT]`.
    pub(super) fn connect(
        url: &str,
        clock: Arc<dyn Clock>,
        random: &mut dyn Random,
    ) -> Result<Self, Failure> {
        let peer = peer(url)?;
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any)
            .and_then(|socket| socket.connect(peer).map(|()| socket))
            .map_err(|error| Failure::failed(format!("{url}: {error}")))?;
        Ok(Self {
            socket,
            peer,
            clock,
            next_id: u16::from_be_bytes(random.array()),
        })
    }

    /// Gets the payload of a resource that answers everybody.
    pub(super) fn get(&mut self, name: &str, random: &mut dyn Random) -> Result<Vec<u8>, Failure> {
        let path = Path::new([name]).map_err(Failure::failed)?;
        let request = Request {
            code: Code::GET,
            path: &path,
            echo: None,
            content_format: None,
            accept: None,
            payload: &[],
        };
        let response = self.ask(&request, random)?;
        if response.code == Code::CONTENT {
            Ok(response.payload)
        } else {
            Err(Failure::failed(format!(
                "/{name} was answered {}",
                response.code
            )))
        }
    }

    /// Asks and waits for the answer, at most about 90 seconds.
    pub(super) fn ask(
        &mut self,
        request: &Request<'_>,
        random: &mut dyn Random,
    ) -> Result<Response, Failure> {
        let token: [u8; 8] = random.array();
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let datagram = encode(request, id, &token)
            .map_err(|error| Failure::failed(format!("the request cannot be sent: {error}")))?;
        let factor = u64::from(u16::from_be_bytes(random.array())) * (ACK_TIMEOUT_MS / 2);
        let mut wait_ms = ACK_TIMEOUT_MS + factor / u64::from(u16::MAX);
        for _ in 0..=RETRANSMIT_MAX {
            self.socket.send(&datagram).map_err(|e| self.lost(&e))?;
            let deadline = self.clock.now().plus(wait_ms);
            if let Some(response) = self.await_answer(id, &token, deadline)? {
                return Ok(response);
            }
            wait_ms *= 2;
        }
        Err(Failure::failed(format!(
            "no answer from coap://{}: is the broker's CoAP listener there, and does the network carry UDP?",
            self.peer
        )))
    }

    /// The answer, if it comes before the deadline; an empty acknowledgement puts the deadline off.
    fn await_answer(
        &self,
        id: u16,
        token: &[u8],
        mut deadline: Millis,
    ) -> Result<Option<Response>, Failure> {
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            let left = deadline.since(self.clock.now());
            if left == 0 {
                return Ok(None);
            }
            self.socket
                .set_read_timeout(Some(Duration::from_millis(left)))
                .map_err(|error| self.lost(&error))?;
            let len = match self.socket.recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if is_timeout(&error) => continue,
                Err(error) => return Err(self.lost(&error)),
            };
            let datagram = buffer.get(..len).unwrap_or_default();
            match judge(datagram, id, token) {
                Judged::Answer { packet, confirm } => {
                    if confirm {
                        self.acknowledge(packet.header.message_id)?;
                    }
                    return Ok(Some(response(&packet)));
                }
                Judged::Promised => deadline = self.clock.now().plus(SEPARATE_MS),
                Judged::Rejected => {
                    return Err(Failure::failed(format!(
                        "coap://{} rejected the request: it does not speak this kind of CoAP",
                        self.peer
                    )));
                }
                Judged::NotOurs => {}
            }
        }
    }

    fn acknowledge(&self, id: u16) -> Result<(), Failure> {
        let [high, low] = id.to_be_bytes();
        // Version 1, acknowledgement, no token; code 0.00.
        let sent = self.socket.send(&[0x60, 0, high, low]);
        sent.map(|_| ()).map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return Failure::failed(format!(
                "nobody listens for CoAP at {}: start the broker with --coap {}",
                self.peer, self.peer
            ));
        }
        Failure::failed(format!("coap://{}: {error}", self.peer))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Where a URL leads.
fn peer(url: &str) -> Result<SocketAddr, Failure> {
    let wrong =
        |what: &str| Failure::wrong_use(format!("`{url}`: {what}; write coap://HOST[:PORT]"));
    let Some(rest) = url.strip_prefix("coap://") else {
        return Err(wrong("only coap:// URLs are known here"));
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.is_empty() || host.contains(['/', '?', '#', '@']) {
        return Err(wrong("the URL names a host and nothing else"));
    }
    // A literal IPv6 address stands in brackets; what comes behind them is the port.
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let with_port = match has_port {
        true => host.to_owned(),
        false => format!("{host}:{PORT}"),
    };
    with_port
        .to_socket_addrs()
        .map_err(|error| Failure::failed(format!("{url}: {error}")))?
        .next()
        .ok_or_else(|| Failure::failed(format!("{url}: the host has no address")))
}

fn encode(
    request: &Request<'_>,
    id: u16,
    token: &[u8],
) -> Result<Vec<u8>, coap_lite::error::MessageError> {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Confirmable);
    packet.header.code = MessageClass::from(request.code.0);
    packet.header.message_id = id;
    packet.set_token(token.to_vec());
    for segment in request.path.segments() {
        packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
    }
    if let Some(format) = request.content_format {
        packet.add_option(CoapOption::ContentFormat, uint(format.0));
    }
    if let Some(format) = request.accept {
        packet.add_option(CoapOption::Accept, uint(format.0));
    }
    if let Some(echo) = request.echo {
        packet.add_option(CoapOption::Unknown(ECHO), echo.to_vec());
    }
    packet.payload = request.payload.to_vec();
    packet.to_bytes()
}

/// The Echo option (RFC 9175).
const ECHO: u16 = 252;

/// A number in the fewest bytes (RFC 7252 §3.2).
fn uint(number: u16) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.iter().skip(zeros).copied().collect()
}

enum Judged {
    /// Our answer; `confirm` if it wants to be acknowledged.
    Answer { packet: Box<Packet>, confirm: bool },
    /// The request has arrived, the answer comes later.
    Promised,
    /// The request is not understood.
    Rejected,
    /// Something else.
    NotOurs,
}

fn judge(datagram: &[u8], id: u16, token: &[u8]) -> Judged {
    // coap-lite takes any version.
    if datagram.first().is_none_or(|first| first >> 6 != 1) {
        return Judged::NotOurs;
    }
    let Ok(packet) = Packet::from_bytes(datagram) else {
        return Judged::NotOurs;
    };
    let to_ours = packet.header.message_id == id;
    let is_empty = packet.header.code == MessageClass::Empty;
    let answers = packet.get_token() == token && u8::from(packet.header.code) >> 5 >= 2;
    match packet.header.get_type() {
        MessageType::Reset if to_ours => Judged::Rejected,
        MessageType::Acknowledgement if to_ours && is_empty => Judged::Promised,
        MessageType::Acknowledgement if to_ours && answers => Judged::Answer {
            packet: Box::new(packet),
            confirm: false,
        },
        kind @ (MessageType::Confirmable | MessageType::NonConfirmable) if answers => {
            Judged::Answer {
                packet: Box::new(packet),
                confirm: kind == MessageType::Confirmable,
            }
        }
        _ => Judged::NotOurs,
    }
}

fn response(packet: &Packet) -> Response {
    let number = |option: CoapOption| {
        let bytes = packet.get_first_option(option)?;
        let fits = bytes.len() <= 4;
        fits.then(|| bytes.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte)))
    };
    Response {
        code: Code(packet.header.code.into()),
        echo: packet.get_first_option(CoapOption::Unknown(ECHO)).cloned(),
        content_format: number(CoapOption::ContentFormat)
            .and_then(|format| u16::try_from(format).ok())
            .map(ContentFormat),
        max_age_s: number(CoapOption::MaxAge),
        payload: packet.payload.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::rng::SeededRandom;

    /// Asks a broker that is this function, and gives back what the client made of it.
    fn ask(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Result<Response, Failure> {
        let broker = UdpSocket::bind("127.0.0.1:0").unwrap();
        let url = format!("coap://{}", broker.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; DATAGRAM_MAX];
            while let Ok((len, peer)) = broker.recv_from(&mut buffer) {
                for answer in answers(&buffer[..len]) {
                    broker.send_to(&answer, peer).unwrap();
                }
            }
        });
        let mut random = SeededRandom::new(1);
        let mut client =
            Client::connect(&url, Arc::new(SystemClock::start()), &mut random).unwrap();
        let path = Path::new(["token"]).unwrap();
        let request = Request {
            code: Code::POST,
            path: &path,
            echo: Some(&[1, 2, 3]),
            content_format: Some(ContentFormat::COSE_SIGN1),
            accept: None,
            payload: b"body",
        };
        client.ask(&request, &mut random)
    }

    /// The head of a message: type, code, message id, token.
    fn head(kind: u8, code: u8, id: &[u8], token: &[u8]) -> Vec<u8> {
        let mut head = vec![0x40 | kind << 4 | token.len() as u8, code];
        head.extend_from_slice(id);
        head.extend_from_slice(token);
        head
    }

    const ACK: u8 = 2;
    const CON: u8 = 0;
    const RST: u8 = 3;

    fn unauthorized_with_echo() -> Response {
        Response {
            code: Code::UNAUTHORIZED,
            echo: Some(vec![7; 12]),
            content_format: None,
            max_age_s: None,
            payload: Vec::new(),
        }
    }

    #[test]
    fn a_request_has_its_options_and_the_piggybacked_answer_is_taken() {
        let response = ask(|request| {
            // CON POST, 8 bytes of token; Uri-Path token, Content-Format 18, Echo 010203, payload.
            assert_eq!(request[..2], [0x48, 0x02]);
            let options = b"\xb5token\x11\x12\xd3\xe3\x01\x02\x03\xffbody";
            assert_eq!(&request[12..], options);
            let mut answer = head(ACK, 0x81, &request[2..4], &request[4..12]);
            answer.extend_from_slice(&[0xdc, 0xef]);
            answer.extend_from_slice(&[7; 12]);
            vec![answer]
        });
        assert_eq!(response.ok().unwrap(), unauthorized_with_echo());
    }

    #[test]
    fn a_separate_answer_is_awaited_and_foreign_ones_are_passed_over() {
        let response = ask(|request| {
            if request.len() == 4 {
                return vec![]; // Our acknowledgement of the separate answer.
            }
            let (id, token) = (&request[2..4], &request[4..12]);
            let mut answer = head(CON, 0x81, b"\x99\x99", token);
            answer.extend_from_slice(&[0xdc, 0xef]);
            answer.extend_from_slice(&[7; 12]);
            vec![
                b"\x80".to_vec(),
                head(ACK, 0x45, id, b"another"),
                head(ACK, 0, id, b""),
                answer,
            ]
        });
        assert_eq!(response.ok().unwrap(), unauthorized_with_echo());
    }

    #[test]
    fn a_reset_and_a_closed_port_are_told_at_once() {
        let rejected = ask(|request| vec![head(RST, 0, &request[2..4], b"")]);
        assert!(
            matches!(rejected, Err(Failure::Told { message, .. }) if message.contains("rejected"))
        );

        let closed = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut random = SeededRandom::new(1);
        let url = format!("coap://{closed}");
        let mut client =
            Client::connect(&url, Arc::new(SystemClock::start()), &mut random).unwrap();
        let refused = client.get("keys", &mut random);
        assert!(
            matches!(refused, Err(Failure::Told { message, .. }) if message.contains("nobody listens"))
        );
    }

    #[test]
    fn urls_lead_to_a_host_and_a_port() {
        for (url, address) in [
            ("coap://127.0.0.1", "127.0.0.1:5683"),
            ("coap://127.0.0.1:7/", "127.0.0.1:7"),
            ("coap://[::1]", "[::1]:5683"),
            ("coap://[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(peer(url).ok(), Some(address.parse().unwrap()), "{url}");
        }
        for url in [
            "127.0.0.1",
            "coaps://x",
            "coap://",
            "coap://h/token",
            "coap://u@h",
        ] {
            assert!(matches!(peer(url), Err(Failure::Told { .. })), "{url}");
        }
    }
}
