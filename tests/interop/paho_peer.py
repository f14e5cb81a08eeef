#!/usr/bin/env python3
"""paho-mqtt on a string: does what each JSON line on standard input says, and prints a JSON line for all that happens.

The commands and events are listed in tests/interop/driven.rs, which holds the other end of the string;
mqttjs/peer.mjs understands the same ones.
"""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

# Our names for the properties of a message, and the library's.
NAMES = {
    "content_type": "ContentType", "response_topic": "ResponseTopic", "expiry": "MessageExpiryInterval",
    "alias": "TopicAlias",
}


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def to_properties(packet_type, given):
    properties = Properties(packet_type)
    for ours, theirs in NAMES.items():
        if ours in given:
            setattr(properties, theirs, given[ours])
    if "correlation" in given:
        properties.CorrelationData = given["correlation"].encode()
    if "user" in given:
        properties.UserProperty = [tuple(pair) for pair in given["user"]]
    return properties


def from_properties(properties):
    if properties is None:
        return {}
    found = {ours: getattr(properties, theirs) for ours, theirs in NAMES.items() if hasattr(properties, theirs)}
    if hasattr(properties, "CorrelationData"):
        found["correlation"] = properties.CorrelationData.decode()
    if hasattr(properties, "UserProperty"):
        found["user"] = [list(pair) for pair in properties.UserProperty]
    if hasattr(properties, "SubscriptionIdentifier"):
        found["identifiers"] = sorted(properties.SubscriptionIdentifier)
    return found


class Peer:
    def __init__(self):
        self.client, self.five = None, False

    def connect(self, command):
        self.five = command["version"] == 5
        clean = {} if self.five else {"clean_session": command["clean"]}
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=command["id"],
                             protocol=mqtt.MQTTv5 if self.five else mqtt.MQTTv311,
                             transport="websockets" if command["over"] in ("ws", "wss") else "tcp", **clean)
        if command["over"] in ("tls", "wss"):
            client.tls_set(ca_certs=command["ca"])
        client.username_pw_set(command["id"], command["password"])
        client.reconnect_delay_set(min_delay=1, max_delay=1)
        client.on_connect = lambda _c, _u, flags, reason, _p: say(
            "connected", code=reason.value, session_present=bool(flags.session_present))
        client.on_disconnect = lambda *_: say("disconnected")
        client.on_subscribe = lambda _c, _u, _m, reasons, _p: say("subscribed", codes=[r.value for r in reasons])
        client.on_publish = lambda _c, _u, _m, reason, _p: say("published", code=reason.value)
        client.on_message = lambda _c, _u, m: say(
            "message", topic=m.topic, payload=m.payload.decode(), qos=m.qos, retain=bool(m.retain),
            properties=from_properties(getattr(m, "properties", None)))
        will = command.get("will")
        if will is not None:
            properties = None
            if self.five:
                properties = to_properties(PacketTypes.WILLMESSAGE, will)
                properties.WillDelayInterval = will.get("delay", 0)
            client.will_set(will["topic"], will["payload"], will["qos"], will["retain"], properties)
        options = {}
        if self.five:
            options["properties"] = Properties(PacketTypes.CONNECT)
            options["properties"].SessionExpiryInterval = command.get("expiry", 0)
            options["clean_start"] = command["clean"]
        self.client = client
        client.connect(command["host"], command["port"], keepalive=30, **options)
        client.loop_start()

    def subscribe(self, command):
        options = {}
        if "identifier" in command:
            options["properties"] = Properties(PacketTypes.SUBSCRIBE)
            options["properties"].SubscriptionIdentifier = command["identifier"]
        self.client.subscribe(command["filter"], qos=command["qos"], **options)

    def publish(self, command):
        properties = to_properties(PacketTypes.PUBLISH, command.get("properties", {})) if self.five else None
        self.client.publish(command["topic"], command["payload"], command["qos"], command["retain"], properties)

    def disconnect(self, _command):
        self.client.disconnect()
        self.client.loop_stop()


def main():
    peer = Peer()
    for line in sys.stdin:
        command = json.loads(line)
        getattr(peer, command["do"])(command)


if __name__ == "__main__":
    main()
