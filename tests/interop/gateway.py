#!/usr/bin/env python3
"""A Keygate gateway in one file: it fetches an access token over CoAP (protocol/SPEC.md §8, §9).

The recipe, for whoever writes one:

    1. POST /token, empty. The broker answers 4.01 with an Echo option: a fresh challenge.
    2. Sign the request over that Echo with the gateway's Ed25519 key, and POST it again.
    3. The answer carries the token. Check it before use: the broker's address proves nothing, signatures do.

It needs Python 3.9 and the packages of requirements.txt. Section numbers (§) are those of SPEC.md.

    gateway.py --id gw-1 --key gw-1.pem --broker-id kg-7f3a9c --issuer-key <64 hex>
    gateway.py --self-test protocol/vectors/keygate-vectors.json

One JSON line on standard output tells the result. Exit code 0: all went as asked (with --expect-refusal: the broker
refused the request); 1: it did not; 2: wrong use.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import re
import sys

import aiocoap
import cbor2
import cwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

ID_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")  # §2.1
ED25519 = -19  # COSE algorithm (§3.5)
COSE_SIGN1, ACE_CBOR = 18, 19  # Content-Formats (§8)
POST = 2  # CoAP method code
TRIES_MAX = 2  # signed requests (§8.4)

# Map keys of ACE (§8.7, §8.8) and claims (§9.2).
ACCESS_TOKEN, EXPIRES_IN, AUDIENCE, SCOPE, CLIENT_ID, ERROR, GRANT_TYPE = 1, 2, 5, 9, 24, 30, 33
CLIENT_CREDENTIALS = 2
ISS, SUB, AUD, EXP, IAT, CTI, CNF, CLAIM_SCOPE = 1, 2, 3, 4, 6, 7, 8, 9
ERRORS = {1: "invalid_request", 2: "invalid_client", 3: "invalid_grant", 4: "unauthorized_client",
          5: "unsupported_grant_type", 6: "invalid_scope", 7: "unsupported_pop_key", 8: "incompatible_profiles"}


class Refused(Exception):
    """The broker said no: a CoAP code, and an ACE error if it named one."""

    def __init__(self, code, error=None):
        super().__init__(f"refused with {code}" + ("" if error is None else f" ({error})"))
        self.code, self.error = str(code).split(" ")[0], error


class Distrusted(Exception):
    """What came back is not from the broker that we mean, or not for us: it is thrown away."""


# --- Keys (§3) ---


def load_key(text):
    """A private key: a PEM file, or 64 hex digits."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    with open(text, "rb") as file:
        key = load_pem_private_key(file.read(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the key file holds no Ed25519 key")
    return key


def raw_public(private_key):
    return private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(public_bytes):
    """First 8 bytes of the COSE key thumbprint (§3.2)."""
    return hashlib.sha256(bytes.fromhex("a301012006215820") + public_bytes).digest()[:8]


def cose_key(public_bytes):
    """A public key as python-cwt takes it."""
    return cwt.COSEKey.new({1: 1, 2: key_id(public_bytes), 3: ED25519, -1: 6, -2: public_bytes})


# --- Signed requests and answers (§8.5, §8.6). cbor2 writes maps in the order given, so the keys below ascend. ---


def sig_structure(protected, external_aad, payload):
    return cbor2.dumps(["Signature1", protected, cbor2.dumps(external_aad), payload])


def sign_request(private_key, broker_id, echo, path, payload):
    """The body of a signed POST, and the request's hash."""
    protected = cbor2.dumps({1: ED25519, 4: key_id(raw_public(private_key))})
    context = ["keygate coap request v1", broker_id, echo, POST, path]
    to_be_signed = sig_structure(protected, context, payload)
    body = cbor2.dumps([protected, {}, payload, private_key.sign(to_be_signed)])
    return body, hashlib.sha256(to_be_signed).digest()


def open_answer(body, broker_key, broker_id, code, request_hash):
    """The payload of a signed answer, if the pinned broker key signed it for this very request."""
    protected, _, payload, signature = cbor2.loads(body)
    context = ["keygate coap answer v1", broker_id, code, request_hash]
    try:
        public_key = Ed25519PublicKey.from_public_bytes(broker_key)
        public_key.verify(signature, sig_structure(protected, context, payload))
    except InvalidSignature:
        raise Distrusted("the answer is not signed by the pinned broker key") from None
    return payload


def token_request(options):
    """The ACE map (§8.7), keys in ascending order."""
    wanted = {}
    if options.audience is not None:
        wanted[AUDIENCE] = options.audience
    if options.scope:
        wanted[SCOPE] = cbor2.dumps([[topic, rights.split("+")] for topic, rights in options.scope])
    wanted[CLIENT_ID] = options.id
    wanted[GRANT_TYPE] = CLIENT_CREDENTIALS
    return cbor2.dumps(wanted)


# --- The conversation ---


async def ask(context, message):
    """One exchange. A fresh message each time: aiocoap gives it a new message id and token, as §8.4 wants."""
    return await context.request(message).response


def refusal(answer):
    error = None
    if answer.opt.content_format == ACE_CBOR and answer.payload:
        error = ERRORS.get(cbor2.loads(answer.payload).get(ERROR))
    return Refused(answer.code, error)


async def fetch_challenge(context, url):
    """/challenge (§8.2): who answers, what time it has, and a nonce for an assertion. Nobody vouches for it."""
    answer = await ask(context, aiocoap.Message(code=aiocoap.GET, uri=f"{url}/challenge"))
    if not answer.code.is_successful():
        raise refusal(answer)
    values = cbor2.loads(answer.payload)
    return values[3], values[6], values[39]


async def fetch_keys(context, url):
    """/keys (§8.3): the broker's token keys, by key id. Over plain UDP a hint, and no trust anchor."""
    message = aiocoap.Message(code=aiocoap.GET, uri=f"{url}/keys")
    answer = await ask(context, message)
    if answer.code is aiocoap.UNAUTHORIZED and answer.opt.echo is not None:
        # Several keys are more than the broker sends to an address that it has not heard from twice.
        echo = answer.opt.echo
        answer = await ask(context, aiocoap.Message(code=aiocoap.GET, uri=f"{url}/keys", echo=echo))
    if not answer.code.is_successful():
        raise refusal(answer)
    return {key[2]: key[-2] for key in cbor2.loads(answer.payload) if key[1] == 1 and key[-1] == 6}


async def fetch_token(context, url, private_key, broker_id, wanted, broker_key=None):
    """POST /token until it is answered: the ACE map of the answer, and the hash of the request."""
    uri = f"{url}/token"
    answer = await ask(context, aiocoap.Message(code=aiocoap.POST, uri=uri))
    for _ in range(TRIES_MAX):
        if answer.code is not aiocoap.UNAUTHORIZED or answer.opt.echo is None:
            break
        echo = answer.opt.echo
        body, request_hash = sign_request(private_key, broker_id, echo, ["token"], wanted)
        message = aiocoap.Message(code=aiocoap.POST, uri=uri, payload=body, content_format=COSE_SIGN1, echo=echo)
        if broker_key is not None:
            message.opt.accept = COSE_SIGN1
        answer = await ask(context, message)
    if answer.code is not aiocoap.CREATED:
        raise refusal(answer)
    payload = answer.payload
    if broker_key is not None:
        payload = open_answer(payload, broker_key, broker_id, int(answer.code), request_hash)
    return cbor2.loads(payload), request_hash


def check_token(token, issuer_keys, expected):
    """The claims, if one of the keys signed them (python-cwt checks signature and time) and they are what we asked for."""
    try:
        claims = cwt.CWT.new().decode(token, [cose_key(public) for public in issuer_keys])
    except (cwt.VerifyError, cwt.DecodeError, ValueError) as error:
        raise Distrusted(f"the token does not verify: {error}") from None
    for claim, value in expected.items():
        if claims.get(claim) != value:
            raise Distrusted(f"claim {claim} of the token is not what was asked for")
    return claims


async def run(options):
    """The whole visit. Returns the result; raises Refused, Distrusted, OSError or aiocoap's errors."""
    private_key = load_key(options.key)
    public = raw_public(private_key)
    url = options.coap.rstrip("/")
    context = await aiocoap.Context.create_client_context()
    try:
        result = {"ok": True, "id": options.id, "kid": key_id(public).hex()}
        broker_id = options.broker_id
        if broker_id is None:
            # Good enough to try things out. A gateway in the field has the broker id in its configuration: whoever
            # answers in the broker's place could name another broker here and pass the signed request on to it.
            broker_id, result["server_time"], _ = await fetch_challenge(context, url)
        result["broker_id"] = broker_id
        answer, request_hash = await fetch_token(context, url, private_key, broker_id, token_request(options),
                                                 options.broker_key)
        if options.issuer_key is not None:
            issuer_keys, result["verified_by"] = [options.issuer_key], "issuer key"
        else:
            keys = await fetch_keys(context, url)
            issuer_keys, result["verified_by"] = list(keys.values()), "/keys"
    finally:
        await context.shutdown()
    token = answer[ACCESS_TOKEN]
    claims = check_token(token, issuer_keys, {
        ISS: broker_id, SUB: options.id, AUD: options.audience or broker_id,
        CTI: request_hash[:8],  # made for this very request
        CNF: {1: {1: 1, -1: 6, -2: public}},  # and for nobody else's key
    })
    result.update(
        token=base64.urlsafe_b64encode(token).rstrip(b"=").decode(), token_bytes=len(token),
        expires_in=answer[EXPIRES_IN], audience=claims[AUD], issued_at=claims[IAT], expires_at=claims[EXP],
        token_id=claims[CTI].hex(), scope=cbor2.loads(claims[CLAIM_SCOPE]),
        broker_proof="not asked" if options.broker_key is None else "verified")
    return result


def self_test(path):
    """Makes the bytes of SPEC.md §8.5 and §8.6 anew, with the test keys of RFC 8032."""
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    device = load_key("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    request = vectors["signed_coap_request"]
    body, request_hash = sign_request(device, "kg-7f3a9c", bytes.fromhex(request["echo"]), request["path"],
                                      bytes.fromhex(request["payload"]))
    assert body.hex() == request["body_untagged"], "the signed request differs"
    assert request_hash.hex() == request["request_hash"], "the request hash differs"
    options = argparse.Namespace(audience="kg-7f3a9c", scope=None, id="dev1")
    assert token_request(options).hex() == request["payload"], "the token request differs"
    answer = vectors["signed_coap_answer"]
    protected, payload, signature = (bytes.fromhex(answer[name]) for name in ("protected", "payload", "signature"))
    message = cbor2.dumps([protected, {}, payload, signature])
    broker_key = bytes.fromhex(vectors["broker_public"])
    assert open_answer(message, broker_key, "kg-7f3a9c", 0x45, request_hash) == payload
    for other in (request_hash[:31] + b"\0", hashlib.sha256(b"").digest()):
        try:
            open_answer(message, broker_key, "kg-7f3a9c", 0x45, other)
        except Distrusted:
            continue
        raise AssertionError("an answer to another request was taken")
    return {"ok": True, "self_test": "passed"}


def public_key(text):
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError("64 hex digits")
    return bytes.fromhex(text)


def identifier(text):
    if not ID_RULE.match(text):
        raise argparse.ArgumentTypeError("not an id")
    return text


def scope_rule(text):
    topic, separator, rights = text.rpartition("=")
    if not separator or rights not in ("pub", "sub", "pub+sub"):
        raise argparse.ArgumentTypeError("FILTER=pub, FILTER=sub or FILTER=pub+sub")
    return topic, rights


def parse():
    parser = argparse.ArgumentParser(description="Fetches an access token from a Keygate broker over CoAP.")
    parser.add_argument("--coap", default="coap://127.0.0.1:5683", metavar="URL", help="default: %(default)s")
    parser.add_argument("--id", type=identifier, help="the gateway's id")
    parser.add_argument("--key", help="private key: PEM file, or 64 hex digits (the seed)")
    parser.add_argument("--broker-id", type=identifier, help="the one broker that is meant; else /challenge names it")
    parser.add_argument("--broker-key", type=public_key, metavar="HEX",
                        help="the broker's identity key to pin: asks for a signed answer and verifies it")
    parser.add_argument("--issuer-key", type=public_key, metavar="HEX",
                        help="the token key to trust; else what /keys says, which is no proof")
    parser.add_argument("--audience", help="who the token is for; else the broker")
    parser.add_argument("--scope", type=scope_rule, action="append", metavar="FILTER=pub+sub",
                        help="ask for less than the roles give; may be repeated")
    parser.add_argument("--expect-refusal", action="store_true", help="exit code 0 if the broker refuses the request")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for the whole visit")
    parser.add_argument("--self-test", metavar="VECTORS", help="check this file against the vectors and leave")
    options = parser.parse_args()
    if options.self_test is None:
        for name in ("id", "key"):
            if getattr(options, name) is None:
                parser.error(f"--{name} is needed")
    return options


def main():
    options = parse()
    try:
        if options.self_test is not None:
            result = self_test(options.self_test)
        else:
            result = asyncio.run(asyncio.wait_for(run(options), options.timeout))
            result["ok"] = not options.expect_refusal
    except Refused as refused:
        result = {"ok": options.expect_refusal, "refused": refused.code, "error": refused.error}
    except (Distrusted, AssertionError, OSError, ValueError, KeyError, asyncio.TimeoutError,
            aiocoap.error.Error) as error:
        result = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
