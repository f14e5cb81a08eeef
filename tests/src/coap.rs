//! A CoAP client of the broker: one datagram out, one back.
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType};
use keygate_protocol::ace::{TokenAnswer, TokenRequest};
use keygate_protocol::coap::{Code, Echo, Path, RequestContext, sign_request};
use keygate_protocol::ident::Id;

use crate::bytes::encoded;
use crate::clock::Deadline;
use crate::device::Device;
use crate::doors::Doors;

/// The Echo option (RFC 9175 §2.2).
const ECHO: CoapOption = CoapOption::Unknown(252);
/// Content-Format of a COSE_Sign1.
const COSE_SIGN1: u8 = 18;
/// When a request is sent once more.
const RESEND: Duration = Duration::from_secs(2);

/// A socket of its own address.
#[derive(Debug)]
pub struct Coap {
    socket: UdpSocket,
    broker_id: String,
    next_id: u16,
}

/// What came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The code: class in the upper three bits.
    pub code: u8,
    /// The Echo option.
    pub echo: Option<Vec<u8>>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Reply {
    /// The token in a 2.01.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn token(&self) -> Vec<u8> {
        assert_eq!(self.code, Code::CREATED.0, "{self:?}");
        let answer = TokenAnswer::decode(&self.payload).expect("an ACE map");
        answer.access_token.to_vec()
    }
}

impl Coap {
    /// A client at 127.0.0.1.
    #[must_use]
    #[track_caller]
    pub fn to(doors: &Doors) -> Self {
        Self::from_address(doors, [127, 0, 0, 1].into())
    }

    /// A client at this address of the machine.
    ///
    /// # Panics
    /// When it is not this machine's.
    #[must_use]
    #[track_caller]
    pub fn from_address(doors: &Doors, source: IpAddr) -> Self {
        let socket = UdpSocket::bind((source, 0)).expect("a UDP socket");
        socket.connect(doors.coap).expect("a UDP socket");
        Self {
            socket,
            broker_id: doors.broker_id.clone(),
            next_id: 1,
        }
    }

    /// Our end: how the audit trail names us.
    ///
    /// # Panics
    /// When the socket is broken.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket")
    }

    /// GET.
    ///
    /// # Panics
    /// When no answer comes.
    #[track_caller]
    pub fn get(&mut self, path: &[&str]) -> Reply {
        self.ask(RequestType::Get, path, None, &[])
    }

    /// POST /token with this Echo and this body.
    ///
    /// # Panics
    /// When no answer comes.
    #[track_caller]
    pub fn post_token(&mut self, echo: Option<&[u8]>, body: &[u8]) -> Reply {
        self.ask(RequestType::Post, &["token"], echo, body)
    }

    /// A fresh Echo, as the broker gives it to whoever asks for a token without one.
    ///
    /// # Panics
    /// When the broker gives none.
    #[track_caller]
    pub fn echo(&mut self) -> Vec<u8> {
        let reply = self.post_token(None, &[]);
        assert_eq!(reply.code, Code::UNAUTHORIZED.0);
        reply.echo.expect("a 4.01 with Echo")
    }

    /// A signed token request by this device, over this Echo.
    ///
    /// # Panics
    /// When the ids are none.
    #[must_use]
    pub fn signed(&self, device: &Device, echo: &[u8]) -> Vec<u8> {
        self.signed_for(&self.broker_id, device, echo)
    }

    /// The same for a broker of this name.
    ///
    /// # Panics
    /// When the ids are none.
    #[must_use]
    pub fn signed_for(&self, broker_id: &str, device: &Device, echo: &[u8]) -> Vec<u8> {
        let wanted = TokenRequest {
            req_cnf: None,
            audience: None,
            scope: None,
            client_id: Id::new(&device.id).expect("an id"),
            grant_type: None,
        };
        let payload = encoded(|sink| wanted.encode(sink));
        let path = Path::new(["token"]).expect("a path");
        let context = RequestContext {
            broker_id: Id::new(broker_id).expect("an id"),
            echo: Echo::new(echo).expect("an echo"),
            code: Code::POST,
            path: &path,
        };
        let mut body = crate::bytes::Bytes::default();
        sign_request(&context, &payload, &mut device.signer(), &mut body).expect("it signs");
        body.0
    }

    /// The whole visit: Echo, signed request, answer.
    ///
    /// # Panics
    /// When no answer comes.
    #[track_caller]
    pub fn ask_for_token(&mut self, device: &Device) -> Reply {
        let echo = self.echo();
        let body = self.signed(device, &echo);
        self.post_token(Some(&echo), &body)
    }

    #[track_caller]
    fn ask(
        &mut self,
        method: RequestType,
        path: &[&str],
        echo: Option<&[u8]>,
        body: &[u8],
    ) -> Reply {
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.code = MessageClass::Request(method);
        packet.header.message_id = self.next_id;
        packet.set_token(self.next_id.to_be_bytes().to_vec());
        for segment in path {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        if !body.is_empty() {
            packet.add_option(CoapOption::ContentFormat, vec![COSE_SIGN1]);
        }
        if let Some(echo) = echo {
            packet.add_option(ECHO, echo.to_vec());
        }
        packet.payload = body.to_vec();
        self.next_id += 1;
        let datagram = packet.to_bytes().expect("it fits a datagram");
        self.exchange(&datagram, packet.header.message_id)
    }

    #[track_caller]
    fn exchange(&self, datagram: &[u8], message_id: u16) -> Reply {
        let deadline = Deadline::new();
        let mut buffer = [0; 2048];
        self.socket
            .set_read_timeout(Some(RESEND))
            .expect("a socket option");
        loop {
            deadline.check("an answer over CoAP");
            self.socket.send(datagram).expect("a datagram goes out");
            let count = match self.socket.recv(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => panic!("cannot receive: {error}"),
            };
            let packet = Packet::from_bytes(&buffer[..count]).expect("a CoAP message");
            if packet.header.message_id != message_id {
                continue;
            }
            return Reply {
                code: packet.header.code.into(),
                echo: packet.get_first_option(ECHO).cloned(),
                payload: packet.payload,
            };
        }
    }
}
