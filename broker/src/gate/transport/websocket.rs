//! MQTT in WebSocket (MQTT 5 §6, RFC 6455), the server's side.
//!
//! Headers are tungstenite's to read and write. The payload of a frame is never gathered: it goes on as it comes, so an
//! idle connection holds no buffer, and nobody can make us reserve one by announcing a long frame.
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use thiserror::Error;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::HeaderValue;
use tungstenite::http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};

/// The subprotocols of MQTT: the one of MQTT 5 and 3.1.1, and the one that older clients ask for.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// A payload up to here has its length in the second byte; up to the next, in two bytes more (RFC 6455 §5.2).
const SHORT: u64 = 125;
const MEDIUM: u64 = 65_535;

/// Why a WebSocket connection cannot go on. What RFC 6455 wants said to the peer has been written.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum WebSocketError {
    /// Not a request to upgrade.
    #[error("WebSocket: not a request to upgrade to WebSocket")]
    NotUpgrade,
    /// Another version than 13.
    #[error("WebSocket: another version than 13")]
    Version,
    /// None of our subprotocols.
    #[error("WebSocket: the subprotocol `mqtt` is not asked for")]
    Subprotocol,
    /// A page of a site that is not on the list.
    #[error("WebSocket: a page of another site (`origins` under [websocket] lists those that may)")]
    Origin,
    /// Text, which MQTT is not.
    #[error("WebSocket: a text frame")]
    Text,
    /// A frame that RFC 6455 does not allow.
    #[error("WebSocket: a frame that breaks a rule")]
    Frame,
    /// The peer closed.
    #[error("WebSocket: the peer closed")]
    Closed,
}

/// What a WebSocket listener asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct WebSocketRules {
    /// Pages of which sites may connect; programs that say no origin always may.
    pub(crate) origins: Origins,
    /// Whether clients that prove nothing are let in: then a page's word for the name of this host is not enough, because
    /// whoever owns a name can point it here.
    pub(crate) lets_everybody_in: bool,
}

impl WebSocketRules {
    /// Some libraries say the address that they connect to as their origin. The broker serves no pages, so that one is
    /// harmless.
    fn admit(&self, origin: &str, host: Option<&str>) -> bool {
        let of_page = origin.split_once("://").map(|(_, authority)| authority);
        let is_own =
            matches!((of_page, host), (Some(page), Some(host)) if page.eq_ignore_ascii_case(host));
        let is_safe = || !self.lets_everybody_in || host.is_some_and(is_literal);
        self.origins.admit(origin) || is_own && is_safe()
    }
}

/// Whether a host is an address, or the name that is always this machine's: nobody else can point it here.
fn is_literal(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

/// Sites, as browsers name them: `https://panel.example`; `*` is any.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Origins(pub(crate) Vec<String>);

impl Origins {
    fn admit(&self, origin: &str) -> bool {
        let listed = |one: &String| one == "*" || one.eq_ignore_ascii_case(origin);
        self.0.iter().any(listed)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct WebSocket {
    rules: Arc<WebSocketRules>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What has come of the request.
    Upgrading(Vec<u8>),
    Open(Frames),
    /// The close frame is out, or the request is refused.
    Closed,
}

/// Where the stream of frames is.
#[derive(Debug, Default)]
struct Frames {
    /// What has come of a header.
    head: Vec<u8>,
    payload: Option<Payload>,
    /// A message has begun and its last frame has not come.
    is_continued: bool,
}

#[derive(Debug)]
struct Payload {
    /// Bytes that have not come.
    left: u64,
    mask: [u8; 4],
    control: Option<(Control, Vec<u8>)>,
}

impl WebSocket {
    /// A connection that awaits its request.
    pub(crate) fn new(rules: &Arc<WebSocketRules>) -> Self {
        Self {
            rules: Arc::clone(rules),
            state: State::Upgrading(Vec::new()),
        }
    }

    /// Whether MQTT can begin.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Takes bytes off the wire; appends the MQTT in them to `mqtt`, and what must be answered to `reply`.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        mqtt: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), WebSocketError> {
        let rest = match &mut self.state {
            State::Closed => return Err(WebSocketError::Closed),
            State::Open(frames) => {
                return frames.receive(bytes, mqtt, reply).inspect_err(|error| {
                    frame(close_frame(*error), reply);
                    self.state = State::Closed;
                });
            }
            State::Upgrading(request) => {
                request.extend_from_slice(bytes);
                let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
                    return Ok(());
                };
                let mut request = std::mem::take(request);
                let rest = request.split_off(end + 4);
                if let Err(error) = self.upgrade(&request, reply) {
                    refuse(error, reply);
                    self.state = State::Closed;
                    return Err(error);
                }
                rest
            }
        };
        self.state = State::Open(Frames::default());
        self.receive(&rest, mqtt, reply)
    }

    /// Appends one binary frame with this MQTT.
    pub(crate) fn send(&self, mqtt: &[u8], wire: &mut Vec<u8>) {
        if self.is_open() {
            let header = FrameHeader {
                opcode: OpCode::Data(Data::Binary),
                ..FrameHeader::default()
            };
            // Into memory: it cannot fail.
            let _ = header.format(mqtt.len() as u64, wire);
            wire.extend_from_slice(mqtt);
        }
    }

    /// Says goodbye, if that has not been said.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        if self.is_open() {
            frame(close_with(CloseCode::Normal), wire);
            self.state = State::Closed;
        }
    }

    /// Judges the request and answers it (RFC 6455 §4.2).
    fn upgrade(&self, request: &[u8], reply: &mut Vec<u8>) -> Result<(), WebSocketError> {
        let (_, request) = Request::try_parse(request)
            .ok()
            .flatten()
            .ok_or(WebSocketError::NotUpgrade)?;
        let headers = request.headers();
        if let Some(version) = headers.get(SEC_WEBSOCKET_VERSION)
            && version != "13"
        {
            return Err(WebSocketError::Version);
        }
        let mut response = create_response(&request).map_err(|_| WebSocketError::NotUpgrade)?;
        if let Some(origin) = headers.get(ORIGIN) {
            // A browser names one.
            let origin = origin.to_str().map_err(|_| WebSocketError::Origin)?;
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let is_one = headers.get_all(ORIGIN).iter().count() == 1;
            if !is_one || !self.rules.admit(origin, host) {
                return Err(WebSocketError::Origin);
            }
        }
        let asked = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let chosen = asked
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(|name| SUBPROTOCOLS.into_iter().find(|known| *known == name.trim()))
            .ok_or(WebSocketError::Subprotocol)?;
        let chosen = HeaderValue::from_static(chosen);
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        write_response(reply, &response).map_err(|_| WebSocketError::NotUpgrade)
    }
}

impl Frames {
    fn receive(
        &mut self,
        mut bytes: &[u8],
        mqtt: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), WebSocketError> {
        loop {
            if self
                .payload
                .as_ref()
                .is_some_and(|payload| payload.left == 0)
            {
                self.end_frame(reply)?;
            }
            let Some((first, rest)) = bytes.split_first() else {
                return Ok(());
            };
            match &mut self.payload {
                Some(payload) => {
                    let taken = usize::try_from(payload.left).unwrap_or(usize::MAX);
                    let (now, later) = bytes.split_at(taken.min(bytes.len()));
                    payload.take(now, mqtt);
                    bytes = later;
                }
                None => {
                    self.head.push(*first);
                    self.begin_frame()?;
                    bytes = rest;
                }
            }
        }
    }

    /// Looks whether the header of a frame is whole (RFC 6455 §5.2).
    fn begin_frame(&mut self) -> Result<(), WebSocketError> {
        let mut head = Cursor::new(&self.head);
        let parsed = FrameHeader::parse(&mut head).map_err(|_| WebSocketError::Frame)?;
        let Some((header, length)) = parsed else {
            return Ok(());
        };
        let is_extended = header.rsv1 || header.rsv2 || header.rsv3;
        let of_length = match length {
            0..=SHORT => 0,
            length if length <= MEDIUM => 2,
            _ => 8,
        };
        let shortest = 2 + of_length;
        // Every frame of a client is masked, and says its length in as few bytes as it takes.
        let (Some(mask), false, true) = (header.mask, is_extended, self.head.len() == shortest + 4)
        else {
            return Err(WebSocketError::Frame);
        };
        let control = match header.opcode {
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return Err(WebSocketError::Frame);
            }
            OpCode::Control(control) if header.is_final && length <= CONTROL_BYTES_MAX => {
                Some((control, Vec::new()))
            }
            OpCode::Data(Data::Text) => return Err(WebSocketError::Text),
            OpCode::Data(data) if self.is_continued == (data == Data::Continue) => {
                self.is_continued = !header.is_final;
                None
            }
            OpCode::Control(_) | OpCode::Data(_) => return Err(WebSocketError::Frame),
        };
        self.head = Vec::new();
        self.payload = Some(Payload {
            left: length,
            mask,
            control,
        });
        Ok(())
    }

    fn end_frame(&mut self, reply: &mut Vec<u8>) -> Result<(), WebSocketError> {
        let ended = self.payload.take();
        match ended.and_then(|payload| payload.control) {
            Some((Control::Ping, data)) => frame(Frame::pong(data), reply),
            Some((Control::Close, _)) => return Err(WebSocketError::Closed),
            Some((Control::Pong | Control::Reserved(_), _)) | None => {}
        }
        Ok(())
    }
}

impl Payload {
    fn take(&mut self, bytes: &[u8], mqtt: &mut Vec<u8>) {
        let to = match &mut self.control {
            Some((_, data)) => data,
            None => mqtt,
        };
        let mask = self.mask.iter().cycle();
        to.extend(bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        // The mask goes on where it stopped.
        let shift = bytes.len() % self.mask.len();
        self.mask.rotate_left(shift);
        self.left = self.left.saturating_sub(bytes.len() as u64);
    }
}

fn frame(frame: Frame, wire: &mut Vec<u8>) {
    // Into memory: it cannot fail.
    let _ = frame.format(wire);
}

fn close_with(code: CloseCode) -> Frame {
    Frame::close(Some(CloseFrame {
        code,
        reason: "".into(),
    }))
}

fn close_frame(error: WebSocketError) -> Frame {
    close_with(match error {
        WebSocketError::Closed => CloseCode::Normal,
        WebSocketError::Text => CloseCode::Unsupported,
        _ => CloseCode::Protocol,
    })
}

/// Refuses the request, in words that help whoever set the client up.
fn refuse(error: WebSocketError, reply: &mut Vec<u8>) {
    let (status, more, words) = match error {
        WebSocketError::Version => (
            "426 Upgrade Required",
            "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n",
            "WebSocket version 13 is spoken here.",
        ),
        WebSocketError::Origin => (
            "403 Forbidden",
            "",
            "This broker does not take connections from pages of this site.",
        ),
        WebSocketError::Subprotocol => (
            "400 Bad Request",
            "",
            "Ask for the subprotocol mqtt (Sec-WebSocket-Protocol).",
        ),
        _ => (
            "400 Bad Request",
            "",
            "This is MQTT over WebSocket: send a request to upgrade.",
        ),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\n{more}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{words}\n",
        words.len() + 1
    );
    reply.extend_from_slice(answer.as_bytes());
}

#[cfg(test)]
mod tests;
