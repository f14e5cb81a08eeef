use super::*;
use proptest::prelude::*;
use tungstenite::Message;
use tungstenite::handshake::client::generate_key;

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n";

fn request() -> Vec<u8> {
    format!("{REQUEST}Sec-WebSocket-Key: {}\r\n\r\n", generate_key()).into_bytes()
}

fn fresh() -> WebSocket {
    WebSocket::new(&Arc::default())
}

fn open() -> WebSocket {
    let mut websocket = fresh();
    websocket
        .receive(&request(), &mut Vec::new(), &mut Vec::new())
        .unwrap();
    assert!(websocket.is_open());
    websocket
}

/// A frame as a client sends it.
fn framed(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut header = FrameHeader {
        opcode,
        is_final,
        ..FrameHeader::default()
    };
    let mask = [1, 2, 3, 4];
    header.mask = Some(mask);
    let mut wire = Vec::new();
    header.format(payload.len() as u64, &mut wire).unwrap();
    let masks = mask.iter().cycle();
    wire.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    wire
}

const BINARY: OpCode = OpCode::Data(Data::Binary);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);

/// What came of these bytes: MQTT, what is answered, and how it ended.
fn heard(
    websocket: &mut WebSocket,
    bytes: &[u8],
) -> (Vec<u8>, Vec<u8>, Result<(), WebSocketError>) {
    let (mut mqtt, mut reply) = (Vec::new(), Vec::new());
    let result = websocket.receive(bytes, &mut mqtt, &mut reply);
    (mqtt, reply, result)
}

/// A client that we did not write, over memory.
#[derive(Debug)]
struct Memory {
    server: WebSocket,
    /// What the server has said and the client has not read.
    answers: Vec<u8>,
    mqtt: Vec<u8>,
}

impl std::io::Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.answers.is_empty() {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.answers.len());
        buffer[..count].copy_from_slice(&self.answers[..count]);
        self.answers.drain(..count);
        Ok(count)
    }
}

impl std::io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Self {
            server,
            answers,
            mqtt,
        } = self;
        // Its end is what the client hears.
        let _ = server.receive(bytes, mqtt, answers);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_client_that_we_did_not_write_upgrades_and_talks() {
    let request = tungstenite::http::Request::builder()
        .uri("ws://localhost/any/path")
        .header("Host", "localhost")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .header("Sec-WebSocket-Protocol", "mqtt")
        .body(())
        .unwrap();
    let memory = Memory {
        server: fresh(),
        answers: Vec::new(),
        mqtt: Vec::new(),
    };
    let (mut client, response) = tungstenite::client(request, memory).unwrap();
    assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "mqtt");
    for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
        let payload = vec![b'x'; length];
        client.send(Message::binary(payload.clone())).unwrap();
        assert!(
            std::mem::take(&mut client.get_mut().mqtt) == payload,
            "{length}"
        );
        let Memory {
            server, answers, ..
        } = client.get_mut();
        server.send(&payload, answers);
        assert_eq!(client.read().unwrap(), Message::binary(payload));
    }
    client.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(
        client.read().unwrap(),
        Message::Pong("are you there".into())
    );
    let Memory {
        server, answers, ..
    } = client.get_mut();
    server.close(answers);
    let Message::Close(Some(close)) = client.read().unwrap() else {
        panic!("no close frame");
    };
    assert_eq!(close.code, CloseCode::Normal);
}

#[test]
fn it_does_not_matter_where_the_bytes_are_cut() {
    let stream = [
        request(),
        framed(BINARY, false, b"one "),
        framed(OpCode::Control(Control::Ping), true, b"in between"),
        framed(CONTINUE, false, b""),
        framed(CONTINUE, true, b"packet"),
        framed(BINARY, true, &[b'y'; 300]),
    ]
    .concat();
    let expected = [&b"one packet"[..], &[b'y'; 300]].concat();
    for step in [1, 2, 3, 7, 64, stream.len()] {
        let mut websocket = fresh();
        let (mut mqtt, mut reply) = (Vec::new(), Vec::new());
        for chunk in stream.chunks(step) {
            websocket.receive(chunk, &mut mqtt, &mut reply).unwrap();
        }
        assert_eq!(mqtt, expected, "{step}");
        assert!(reply.starts_with(b"HTTP/1.1 101 "));
        assert!(reply.ends_with(b"\x8a\x0ain between"));
    }
}

#[test]
fn a_frame_that_breaks_a_rule_ends_it_with_its_code() {
    let unmasked = b"\x82\x01x".to_vec();
    let mut reserved_bit = framed(BINARY, true, b"x");
    reserved_bit[0] |= 0x40;
    let long_form = [&[0x82, 0x80 | 126, 0, 1][..], &[0; 4], b"x"].concat();
    let longer_form = [
        &[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0; 4],
        b"x",
    ]
    .concat();
    let ping = OpCode::Control(Control::Ping);
    let protocol = 1002_u16;
    for (bytes, error, code) in [
        (unmasked, WebSocketError::Frame, protocol),
        (reserved_bit, WebSocketError::Frame, protocol),
        (long_form, WebSocketError::Frame, protocol),
        (longer_form, WebSocketError::Frame, protocol),
        (
            framed(CONTINUE, true, b"x"),
            WebSocketError::Frame,
            protocol,
        ),
        (framed(ping, false, b""), WebSocketError::Frame, protocol),
        (
            framed(ping, true, &[0; 126]),
            WebSocketError::Frame,
            protocol,
        ),
        (
            framed(OpCode::Data(Data::Reserved(3)), true, b""),
            WebSocketError::Frame,
            protocol,
        ),
        (
            framed(OpCode::Control(Control::Reserved(11)), true, b""),
            WebSocketError::Frame,
            protocol,
        ),
        (
            framed(OpCode::Data(Data::Text), true, b"x"),
            WebSocketError::Text,
            1003,
        ),
        (
            framed(OpCode::Control(Control::Close), true, &[]),
            WebSocketError::Closed,
            1000,
        ),
    ] {
        let mut websocket = open();
        // What came whole before it counts.
        let (mqtt, reply, result) = heard(
            &mut websocket,
            &[framed(BINARY, true, b"before"), bytes.clone()].concat(),
        );
        assert_eq!(
            (&mqtt[..], result),
            (&b"before"[..], Err(error)),
            "{bytes:02x?}"
        );
        let [high, low] = code.to_be_bytes();
        assert_eq!(reply, [0x88, 2, high, low], "{bytes:02x?}");
        // Nothing follows.
        let mut wire = Vec::new();
        websocket.send(b"late", &mut wire);
        websocket.close(&mut wire);
        assert_eq!(wire, b"");
        assert_eq!(heard(&mut websocket, b"x").2, Err(WebSocketError::Closed));
    }
    let mut websocket = open();
    heard(&mut websocket, &framed(BINARY, false, b"x"))
        .2
        .unwrap();
    let second = heard(&mut websocket, &framed(BINARY, true, b"x")).2;
    assert_eq!(
        second,
        Err(WebSocketError::Frame),
        "the first message goes on"
    );
}

#[test]
fn a_long_frame_that_is_only_announced_costs_nothing() {
    let mut websocket = open();
    let header = [&[0x82, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat();
    let (mqtt, reply, result) = heard(&mut websocket, &header);
    assert_eq!((mqtt, reply, result), (vec![], vec![], Ok(())));
    let State::Open(frames) = &websocket.state else {
        panic!("it is open");
    };
    assert_eq!(frames.head.capacity(), 0);
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    let mut websocket = open();
    heard(&mut websocket, &framed(BINARY, true, &[0; 100_000]))
        .2
        .unwrap();
    let State::Open(frames) = &websocket.state else {
        panic!("it is open");
    };
    assert_eq!(
        (frames.head.capacity(), frames.payload.is_none()),
        (0, true)
    );
    assert!(size_of::<WebSocket>() <= 128, "{}", size_of::<WebSocket>());
}

#[test]
fn only_pages_of_listed_sites_may_connect_and_programs_always() {
    let listed = |origins: &[&str]| {
        let origins = Origins(origins.iter().map(ToString::to_string).collect());
        Arc::new(WebSocketRules {
            origins,
            lets_everybody_in: false,
        })
    };
    let page = "https://panel.example";
    for (rules, origin, admitted) in [
        (listed(&[]), None, true),
        (listed(&[]), Some(page), false),
        (listed(&[page]), Some(page), true),
        (listed(&[page]), Some("HTTPS://Panel.Example"), true),
        (listed(&[page]), Some("https://panel.example.evil"), false),
        (listed(&[page]), Some("null"), false),
        (listed(&["*"]), Some("https://anywhere"), true),
    ] {
        let header = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
        let request = String::from_utf8(request()).unwrap();
        let request = request.replace(
            "Upgrade: websocket\r\n",
            &format!("{header}Upgrade: websocket\r\n"),
        );
        let mut websocket = WebSocket::new(&rules);
        let (_, reply, result) = heard(&mut websocket, request.as_bytes());
        assert_eq!(result.is_ok(), admitted, "{rules:?} {origin:?}");
        let status: &[u8] = if admitted {
            b"HTTP/1.1 101"
        } else {
            b"HTTP/1.1 403"
        };
        assert!(reply.starts_with(status));
    }
}

/// paho-mqtt names the address that it connects to.
#[test]
fn the_broker_s_own_address_is_no_site_unless_anybody_could_claim_it() {
    for (origin, host, for_devices, for_everybody) in [
        ("http://localhost:8083", "localhost:8083", true, true),
        ("https://127.0.0.1:8084", "127.0.0.1:8084", true, true),
        ("https://[::1]:8084", "[::1]:8084", true, true),
        ("https://broker.example", "broker.example", true, false),
        ("http://broker.example:80", "broker.example:80", true, false),
        ("https://elsewhere.example", "broker.example", false, false),
        ("http://localhost:3000", "localhost:8083", false, false),
        ("null", "localhost", false, false),
        ("localhost", "localhost", false, false),
    ] {
        for (lets_everybody_in, admitted) in [(false, for_devices), (true, for_everybody)] {
            let rules = WebSocketRules {
                origins: Origins::default(),
                lets_everybody_in,
            };
            assert_eq!(
                rules.admit(origin, Some(host)),
                admitted,
                "{origin} {host} {lets_everybody_in}"
            );
            assert!(!rules.admit(origin, None));
        }
    }
}

#[test]
fn the_first_of_our_subprotocols_is_chosen() {
    for (asked, chosen) in [
        ("mqtt", Some("mqtt")),
        ("mqttv3.1,mqtt", Some("mqttv3.1")),
        ("chat, mqtt", Some("mqtt")),
        ("MQTT", None),
        ("mqtt2", None),
        ("", None),
    ] {
        let request = String::from_utf8(request()).unwrap();
        let request = request.replace("mqttv3.1, mqtt", asked);
        let mut websocket = fresh();
        let (_, reply, result) = heard(&mut websocket, request.as_bytes());
        let reply = String::from_utf8(reply).unwrap().to_lowercase();
        match chosen {
            Some(chosen) => {
                let header = format!("\r\nsec-websocket-protocol: {chosen}\r\n");
                assert!(reply.contains(&header), "{reply}");
            }
            None => {
                assert_eq!(result, Err(WebSocketError::Subprotocol), "{asked}");
                assert!(reply.starts_with("http/1.1 400 "), "{reply}");
            }
        }
    }
}

proptest! {
    #[test]
    fn noise_never_panics_and_gives_no_more_than_came(bytes in prop::collection::vec(any::<u8>(), 0..600), upgraded: bool) {
        let mut websocket = if upgraded { open() } else { fresh() };
        let (mqtt, _, _) = heard(&mut websocket, &bytes);
        prop_assert!(mqtt.len() <= bytes.len());
    }
}
