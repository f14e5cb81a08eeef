#!/usr/bin/env python3
"""A Keygate device in one file, written from protocol/SPEC.md alone.

It needs Python 3.9 and the `cryptography` package (for Ed25519); MQTT 5 packets and CBOR are made by hand, so that
the file can be read as the recipe for any other language. Section numbers (§) are those of SPEC.md.

    device.py --id dev1 --key dev1.pem --broker-id kg-7f3a9c --broker-key <64 hex> --publish devices/dev1/reported '{"t":21}'
    device.py --self-test protocol/vectors/keygate-vectors.json

One JSON line on standard output tells the result. Exit code 0: all went as asked (with --expect-refusal: the broker
refused the login); 1: it did not; 2: wrong use.
"""

import argparse
import hashlib
import json
import os
import re
import socket
import ssl
import sys
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

METHOD = b"kg-ed25519"
CONTEXT = "keygate mqtt auth v1"
ID_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")  # §2.1
ANSWER_WAIT_S = 30.0  # §4.7
PACKET_SIZE_MAX = 65536  # what we accept; told to the broker in CONNECT


class Refused(Exception):
    """The broker said no: a reason code, or a close without a word (None)."""

    def __init__(self, stage, code=None):
        super().__init__(f"refused at {stage}" + ("" if code is None else f" with 0x{code:02x}"))
        self.stage, self.code = stage, code


class Distrusted(Exception):
    """The broker is not the one that we were configured for, or broke the profile: we leave."""


# --- Deterministic CBOR (§1). Six types are all that a device needs. ---


def cbor_head(major, n):
    """The first bytes of an item: its type and a length or value in the shortest form."""
    if n < 24:
        return bytes([major << 5 | n])
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | extra]) + n.to_bytes(size, "big")
    raise ValueError("number too large for CBOR")


def cbor(value):
    """Encodes None, bool, non-negative int, bytes, str and lists of them."""
    if value is None:
        return b"\xf6"
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return cbor_head(3, len(text)) + text
    return cbor_head(4, len(value)) + b"".join(cbor(item) for item in value)


# --- Keys (§3) ---


def key_id(public_bytes):
    """First 8 bytes of the COSE key thumbprint: SHA-256 over 8 constant bytes and the public key (§3.2)."""
    return hashlib.sha256(bytes.fromhex("a301012006215820") + public_bytes).digest()[:8]


def raw_public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sig_structure(payload):
    """What is really signed: the COSE Sig_structure with protected header {1: -19} (§3.5)."""
    return cbor(["Signature1", bytes.fromhex("a10132"), b"", payload])


# --- The login, as pure functions of bytes (§4) ---


def opening_digest(clean_start=True, session_expiry_s=0, will=None):
    """Covers what CONNECT asks for (§4.6). will = (topic, payload, qos, retain, delay_s)."""
    return hashlib.sha256(cbor([0, clean_start, session_expiry_s, None if will is None else list(will)])).digest()


REAUTHENTICATION_DIGEST = hashlib.sha256(cbor([1])).digest()


class Login:
    """One login: open() -> challenge -> proof() -> confirmation -> confirm(). Use it once."""

    def __init__(self, key, client_id, broker_id, pinned=None, opening=None, client_nonce=None, binding_value=b""):
        self.key, self.client_id, self.broker_id, self.pinned = key, client_id, broker_id, pinned
        self.kid = key_id(raw_public(key))
        self.broker_kid = None if pinned is None else key_id(pinned)
        self.client_nonce = os.urandom(16) if client_nonce is None else client_nonce
        self.opening = opening_digest() if opening is None else opening
        self.binding_value = binding_value  # 32 bytes of the TLS exporter, or empty (§4.8)
        self.broker_nonce = None

    def open(self):
        """Authentication Data of CONNECT, or of AUTH 19 (§4.2)."""
        return cbor([1, self.client_nonce, self.kid, self.broker_kid, 1 if self.binding_value else 0])

    def transcript(self, role):
        """The payload that both signatures are made over; only the role differs (§4.4)."""
        return cbor([CONTEXT, role, self.broker_id, self.client_id, self.kid, self.broker_kid,
                     self.client_nonce, self.broker_nonce, self.binding_value, self.opening])

    def read_challenge(self, data):
        """Takes the broker's nonce if, and only if, the challenge comes from the configured broker (§4.3).

        A challenge has one possible encoding for a given nonce and broker id, so comparing bytes is the strictest
        parser there is: nothing else is accepted."""
        nonce = data[3:35]
        if len(nonce) != 32 or data[:3] != b"\x82\x58\x20":
            raise Distrusted("the challenge is malformed")
        if data != cbor([nonce, self.broker_id]):
            raise Distrusted("the challenge is malformed or names another broker")
        self.broker_nonce = nonce

    def proof(self):
        """Authentication Data of our AUTH: 64 raw bytes (§4.4)."""
        return self.key.sign(sig_structure(self.transcript("device")))

    def confirm(self, data):
        """Checks what CONNACK carries. Until this returned, the login has not succeeded (§4.5)."""
        if self.pinned is None:
            if data is not None:
                raise Distrusted("a broker proof that nobody asked for")
            return
        if data is None or len(data) != 64:
            raise Distrusted("the broker did not prove itself")
        try:
            Ed25519PublicKey.from_public_bytes(self.pinned).verify(data, sig_structure(self.transcript("broker")))
        except InvalidSignature:
            raise Distrusted("the broker's proof is not by the pinned key") from None


# --- MQTT 5 packets ---


def varint(n):
    out = b""
    while True:
        n, low = divmod(n, 128)
        out += bytes([low | (0x80 if n else 0)])
        if not n:
            return out


def binary(data):
    return len(data).to_bytes(2, "big") + data


def packet(first_byte, body):
    return bytes([first_byte]) + varint(len(body)) + body


def auth_properties(data):
    """Authentication Method (0x15) and Data (0x16)."""
    return b"\x15" + binary(METHOD) + (b"" if data is None else b"\x16" + binary(data))


def with_length(properties):
    return varint(len(properties)) + properties


def connect_packet(client_id, open_data, keep_alive_s=60, packet_size_max=PACKET_SIZE_MAX, will=None,
                   clean_start=True, session_expiry_s=0):
    flags = 0x02 if clean_start else 0
    payload = binary(client_id.encode())
    if will is not None:
        topic, message, qos, retain, delay_s = will
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        delay = b"\x18" + delay_s.to_bytes(4, "big") if delay_s else b""
        payload += with_length(delay) + binary(topic.encode()) + binary(message)
    properties = b"\x11" + session_expiry_s.to_bytes(4, "big") if session_expiry_s else b""
    properties += auth_properties(open_data)
    if packet_size_max is not None:
        properties += b"\x27" + packet_size_max.to_bytes(4, "big")
    head = binary(b"MQTT") + bytes([5, flags]) + keep_alive_s.to_bytes(2, "big")
    return packet(0x10, head + with_length(properties) + payload)


def auth_packet(reason, data):
    return packet(0xF0, bytes([reason]) + with_length(auth_properties(data)))


def subscribe_packet(packet_id, topic_filter, qos):
    return packet(0x82, packet_id.to_bytes(2, "big") + b"\x00" + binary(topic_filter.encode()) + bytes([qos]))


def publish_packet(packet_id, topic, payload):
    """QoS 1."""
    return packet(0x32, binary(topic.encode()) + packet_id.to_bytes(2, "big") + b"\x00" + payload)


class Reader:
    """Takes fields off the front of a packet body; running out of bytes is the broker's fault."""

    def __init__(self, data):
        self.data = data

    def take(self, n):
        if len(self.data) < n:
            raise Distrusted("a packet ends too early")
        head, self.data = self.data[:n], self.data[n:]
        return head

    def uint(self, n):
        return int.from_bytes(self.take(n), "big")

    def binary(self):
        return self.take(self.uint(2))

    def varint(self):
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.uint(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Distrusted("a length with more than four bytes")

    def properties(self):
        """{property id: value}; User Properties (0x26) are read over, anything twice is refused."""
        inner, found = Reader(self.take(self.varint())), {}
        while inner.data:
            name = inner.varint()
            if name in (0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A):
                value = inner.uint(1)
            elif name in (0x13, 0x21, 0x22, 0x23):
                value = inner.uint(2)
            elif name in (0x02, 0x11, 0x18, 0x27):
                value = inner.uint(4)
            elif name == 0x0B:
                value = inner.varint()
            elif name in (0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F):
                value = inner.binary()
            elif name == 0x26:
                inner.binary(), inner.binary()
                continue
            else:
                raise Distrusted(f"unknown property 0x{name:02x}")
            if found.setdefault(name, value) is not value:
                raise Distrusted(f"property 0x{name:02x} stands twice")
        return found


def auth_data_of(properties):
    """The Authentication Data, provided that the packet repeats our method."""
    if properties.get(0x15) != METHOD:
        raise Distrusted("the broker answered with another authentication method")
    return properties.get(0x16)


# --- The connection ---


class Connection:
    """Whole packets over a TCP socket, or over TLS, each with a deadline."""

    def __init__(self, host, port, wait_s, ca=None):
        self.wait_s = wait_s
        self.socket = socket.create_connection((host, port), timeout=wait_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ca is not None:
            # `ssl` has no exporter, so the login stays unbound (binding 0).
            self.socket = ssl.create_default_context(cafile=ca).wrap_socket(self.socket, server_hostname=host)
        self.buffer = b""

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the broker left; what it said before that, if anything, is found by the next receive

    def receive(self, stage):
        """The next packet as (first byte, body). A close before it is a refusal at `stage`."""
        deadline = time.monotonic() + self.wait_s
        while True:
            parsed = self.split()
            if parsed is not None:
                return parsed
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer at {stage}")
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(4096)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Refused(stage)
            self.buffer += more

    def split(self):
        length, shift = 0, 0
        for at, byte in enumerate(self.buffer[1:5], start=1):
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if length > PACKET_SIZE_MAX:
                    raise Distrusted("a packet larger than we allowed")
                end = at + 1 + length
                if len(self.buffer) < end:
                    return None
                first, body = self.buffer[0], self.buffer[at + 1:end]
                self.buffer = self.buffer[end:]
                return first, body
        if shift == 28:
            raise Distrusted("a length with more than four bytes")
        return None

    def close(self):
        try:
            self.send(b"\xe0\x00")  # DISCONNECT, normal
        except OSError:
            pass
        self.socket.close()


def expect(connection, stage, first_byte):
    """The next packet, which must be of one type; CONNACK and DISCONNECT may refuse instead."""
    first, body = connection.receive(stage)
    if first == 0xE0:
        raise Refused(stage, body[0] if body else 0)
    if first == 0x20 and len(body) >= 2 and body[1] >= 0x80:
        raise Refused(stage, body[1])
    if first != first_byte:
        raise Distrusted(f"packet 0x{first:02x} at {stage}")
    return Reader(body)


def log_in(connection, login, will=None):
    """The four messages of §4. Returns only if the broker accepted us and we accepted the broker."""
    connection.send(connect_packet(login.client_id, login.open(), will=will))
    challenge(connection, login)
    body = expect(connection, "confirmation", 0x20)
    body.take(1)  # acknowledge flags
    if body.uint(1) != 0:
        raise Distrusted("CONNACK with a strange reason")
    login.confirm(auth_data_of(body.properties()))


def reauthenticate(connection, login):
    """The same on a living connection (§4.9): AUTH 19 opens, AUTH 00 ends."""
    connection.send(auth_packet(0x19, login.open()))
    challenge(connection, login)
    body = expect(connection, "confirmation", 0xF0)
    if body.uint(1) != 0:
        raise Distrusted("re-authentication ended with a strange reason")
    login.confirm(auth_data_of(body.properties()))


def challenge(connection, login):
    body = expect(connection, "challenge", 0xF0)
    if body.uint(1) != 0x18:
        raise Distrusted("AUTH with a strange reason")
    login.read_challenge(auth_data_of(body.properties()) or b"")
    connection.send(auth_packet(0x18, login.proof()))


def subscribe(connection, topic_filter):
    connection.send(subscribe_packet(1, topic_filter, 1))
    while True:  # a retained message may overtake the SUBACK
        first, body = connection.receive("subscribe")
        if first == 0x90:
            break
        handle_publish(connection, first, body)
    body = Reader(body)
    body.take(2)
    body.properties()
    granted = body.uint(1)
    if granted >= 0x80:
        raise Refused("subscribe", granted)
    return granted


def publish_and_receive(connection, topic, payload):
    """Publishes at QoS 1 and waits for both the acknowledgement and our own copy."""
    connection.send(publish_packet(2, topic, payload))
    acknowledged = received = False
    while not (acknowledged and received):
        first, body = connection.receive("publish")
        if first == 0x40:
            reader = Reader(body)
            if reader.uint(2) == 2:
                code = reader.uint(1) if reader.data else 0
                if code >= 0x80:
                    raise Refused("publish", code)
                acknowledged = True
        elif handle_publish(connection, first, body) == (topic, payload):
            received = True


def handle_publish(connection, first, body):
    """Acknowledges a PUBLISH and returns (topic, payload); other packets give None, DISCONNECT ends us."""
    if first == 0xE0:
        raise Refused("session", body[0] if body else 0)
    if first >> 4 != 3:
        return None
    reader = Reader(body)
    topic = reader.binary().decode()
    if first & 0x06:
        packet_id = reader.take(2)
        connection.send(packet(0x40, packet_id))
    reader.properties()
    return topic, reader.data


# --- Self-test against the vectors (§11) ---


def self_test(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))  # RFC 8032 TEST 1
    checks = 0

    def same(what, ours, theirs):
        nonlocal checks
        checks += 1
        if ours.hex() != theirs:
            raise AssertionError(f"{what}: {ours.hex()} instead of {theirs}")

    def refused(what, call, *arguments):
        nonlocal checks
        checks += 1
        try:
            call(*arguments)
        except Distrusted:
            return
        raise AssertionError(f"{what} was accepted")

    same("device public key", raw_public(key), vectors["device_public"])
    same("broker key id", key_id(bytes.fromhex(vectors["broker_public"])), vectors["broker_kid"])
    for case in vectors["kg_ed25519"]:
        name = case["name"]
        again = case["opening_cbor"] == "8101"
        will = ("devices/dev1/gone", b"bye", 1, False, 5) if "will" in name else None
        opening = REAUTHENTICATION_DIGEST if again else opening_digest(will is None, 3600 if will else 0, will)
        same(f"{name}: opening", opening, case["opening"])
        login = Login(key, case["client_id"], case["broker_id"],
                      pinned=bytes.fromhex(vectors["broker_public"]) if case["broker_kid"] else None,
                      opening=opening, client_nonce=bytes.fromhex(case["client_nonce"]),
                      binding_value=bytes.fromhex(case["binding_value"]))
        same(f"{name}: open", login.open(), case["open_auth_data"])
        sent = bytes.fromhex(case["challenge_auth_data"])
        login.read_challenge(sent)
        same(f"{name}: transcript", login.transcript("device"), case["device_payload"])
        same(f"{name}: to be signed", sig_structure(login.transcript("device")), case["device_to_be_signed"])
        same(f"{name}: signature", login.proof(), case["device_signature"])
        same(f"{name}: proof packet", auth_packet(0x18, login.proof()), case["proof_packet"])
        same(f"{name}: challenge packet", auth_packet(0x18, sent), case["challenge_packet"])
        if again:
            same(f"{name}: open packet", auth_packet(0x19, login.open()), case["open_packet"])
        elif "open_packet" in case:
            same(f"{name}: open packet", connect_packet(login.client_id, login.open(), packet_size_max=None),
                 case["open_packet"])
        if case["broker_kid"]:
            proof = bytes.fromhex(case["broker_signature"])
            same(f"{name}: broker transcript", login.transcript("broker"), case["broker_payload"])
            login.confirm(proof)
            refused(f"{name}: no broker proof", login.confirm, None)
            refused(f"{name}: a short broker proof", login.confirm, proof[:63])
            refused(f"{name}: an altered broker proof", login.confirm, bytes([proof[0] ^ 1]) + proof[1:])
            refused(f"{name}: our own proof reflected", login.confirm, login.proof())
        else:
            login.confirm(None)
            refused(f"{name}: an unasked broker proof", login.confirm, bytes(64))
        for what, data in challenges_to_refuse(sent, login.broker_id):
            refused(f"{name}: {what}", login.read_challenge, data)
    return {"ok": True, "self_test": path, "checks": checks}


def challenges_to_refuse(good, broker_id):
    nonce = good[3:35]
    yield "a challenge from another broker", cbor([nonce, broker_id[:-1] + "x"])
    yield "a challenge with a longer broker id", cbor([nonce, broker_id + "x"])
    yield "a 31-byte nonce", cbor([nonce[:31], broker_id])
    yield "a third item", cbor([nonce, broker_id, 0])
    yield "a trailing byte", good + b"\x00"
    yield "a nonce length in two bytes", b"\x82\x59\x00\x20" + good[3:]
    yield "an indefinite array", b"\x9f" + good[1:] + b"\xff"
    yield "an empty challenge", b""
    for length in range(1, len(good)):
        yield f"a challenge cut to {length} bytes", good[:length]


# --- Command line ---


def load_key(text):
    """A PEM file (as `openssl genpkey -algorithm ed25519` writes it), a file with 64 hex digits, or the digits."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    with open(text, "rb") as file:
        data = file.read()
    if re.fullmatch(rb"\s*[0-9a-fA-F]{64}\s*", data):
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(data.decode().strip()))
    key = load_pem_private_key(data, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return key


def arguments():
    parser = argparse.ArgumentParser(description="A Keygate device, written from protocol/SPEC.md alone.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--ca", help="speak TLS, and trust this CA: PEM file")
    parser.add_argument("--id", help="the device's id; also its client id")
    parser.add_argument("--key", help="private key: PEM file, or 64 hex digits (the seed)")
    parser.add_argument("--broker-id", help="the one broker that this device talks to")
    parser.add_argument("--broker-key", help="the broker's identity key to pin: 64 hex digits")
    parser.add_argument("--publish", nargs=2, metavar=("TOPIC", "PAYLOAD"), help="publish at QoS 1, wait for the copy")
    parser.add_argument("--will", nargs=2, metavar=("TOPIC", "PAYLOAD"), help="ask for a will (QoS 0)")
    parser.add_argument("--reauthenticate", action="store_true", help="prove the key again after the login")
    parser.add_argument("--expect-refusal", action="store_true", help="exit code 0 if the broker refuses the login")
    parser.add_argument("--timeout", type=float, default=ANSWER_WAIT_S, help="seconds to wait for each answer")
    parser.add_argument("--self-test", metavar="VECTORS", help="check this file against the vectors and leave")
    options = parser.parse_args()
    if options.self_test is None:
        for name in ("id", "key", "broker_id"):
            if getattr(options, name) is None:
                parser.error(f"--{name.replace('_', '-')} is needed")
        for name in ("id", "broker_id"):
            if not ID_RULE.match(getattr(options, name)):
                parser.error(f"--{name.replace('_', '-')} is not an id")
        if options.broker_key is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", options.broker_key):
            parser.error("--broker-key takes 64 hex digits")
    return options


def run(options):
    """The whole visit. Returns the result; raises Refused, Distrusted or OSError."""
    key = load_key(options.key)
    pinned = None if options.broker_key is None else bytes.fromhex(options.broker_key)
    will = None if options.will is None else (options.will[0], options.will[1].encode(), 0, False, 0)
    result = {"ok": True, "id": options.id, "kid": key_id(raw_public(key)).hex(), "broker_id": options.broker_id,
              "broker_proof": "not asked" if pinned is None else "verified"}
    started = time.monotonic()
    connection = Connection(options.host, options.port, options.timeout, options.ca)
    try:
        log_in(connection, Login(key, options.id, options.broker_id, pinned, opening_digest(will=will)), will)
        result["login_ms"] = round((time.monotonic() - started) * 1000, 1)
        own_topics = f"devices/{options.id}/#"
        result["subscribed"] = own_topics
        result["granted_qos"] = subscribe(connection, own_topics)
        if options.reauthenticate:
            reauthenticate(connection, Login(key, options.id, options.broker_id, pinned, REAUTHENTICATION_DIGEST))
            result["reauthenticated"] = True
        if options.publish is not None:
            topic, payload = options.publish
            publish_and_receive(connection, topic, payload.encode())
            result["published"], result["received"] = topic, payload
    finally:
        connection.close()
    return result


def main():
    options = arguments()
    try:
        result = run(options) if options.self_test is None else self_test(options.self_test)
        as_asked = not options.expect_refusal
    except Refused as refusal:
        code = None if refusal.code is None else f"0x{refusal.code:02x}"
        result = {"ok": False, "refused": True, "stage": refusal.stage, "reason_code": code}
        as_asked = options.expect_refusal and refusal.stage in ("challenge", "confirmation")
    except (Distrusted, AssertionError, TimeoutError, OSError, ValueError) as error:
        result = {"ok": False, "refused": False, "error": f"{type(error).__name__}: {error}"}
        as_asked = False
    print(json.dumps(result), flush=True)
    sys.exit(0 if as_asked else 1)


if __name__ == "__main__":
    main()
