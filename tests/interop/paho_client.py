#!/usr/bin/env python3
"""An ordinary MQTT client (paho-mqtt) that logs in with an assertion as password and comes back by itself.

    paho_client.py --port 1883 --version 5 --id dev1 --password "$(keygate assert …)" --rounds 2

In each round it connects (again), subscribes to its own topics, publishes at QoS 1 and waits for the copy; between
rounds it waits for the broker to go away. It prints a JSON line for everything that happens and ends with 0 after the
last round, with 1 if the broker refuses it.
"""

import argparse
import json
import sys

import paho.mqtt.client as mqtt


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def parse():
    parser = argparse.ArgumentParser(description="Logs in with an assertion, and again after each lost connection.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--version", choices=("311", "5"), default="5")
    parser.add_argument("--id", required=True, help="the device's id: client id and user name")
    parser.add_argument("--password", required=True, help="the assertion")
    parser.add_argument("--rounds", type=int, default=1)
    return parser.parse_args()


def main():
    options = parse()
    protocol = mqtt.MQTTv5 if options.version == "5" else mqtt.MQTTv311
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=options.id, protocol=protocol)
    client.username_pw_set(options.id, options.password)
    client.reconnect_delay_set(min_delay=1, max_delay=1)
    state = {"round": 0, "code": 0}

    def on_connect(client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            say("refused", reason=str(reason))
            state["code"] = 1
            client.disconnect()
            return
        state["round"] += 1
        say("connected", round=state["round"])
        client.subscribe(f"devices/{options.id}/#", qos=1)

    def on_subscribe(client, _userdata, _mid, reasons, _properties):
        if reasons[0].is_failure:
            say("refused", reason=str(reasons[0]))
            state["code"] = 1
            client.disconnect()
            return
        client.publish(f"devices/{options.id}/reported", f"round {state['round']}", qos=1)

    def on_message(client, _userdata, message):
        say("received", topic=message.topic, payload=message.payload.decode(), qos=message.qos)
        if state["round"] == options.rounds:
            client.disconnect()

    def on_disconnect(_client, _userdata, _flags, reason, _properties):
        say("disconnected", reason=str(reason))

    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    client.on_message, client.on_disconnect = on_message, on_disconnect
    client.connect(options.host, options.port, keepalive=10)
    client.loop_forever()
    sys.exit(state["code"])


if __name__ == "__main__":
    main()
