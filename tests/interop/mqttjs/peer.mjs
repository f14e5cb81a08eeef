// MQTT.js on a string: does what each JSON line on standard input says, and prints a JSON line for all that happens.
//
// The commands and events are listed in tests/interop/driven.rs, which holds the other end of the string;
// ../paho_peer.py understands the same ones, but for `login` and `reauthenticate`.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import mqtt from 'mqtt'
import { Login, METHOD } from './kg.mjs'

const say = (event, details = {}) => console.log(JSON.stringify({ event, ...details }))

// Our names for the properties of a message, and the library's.
const NAMES = {
  content_type: 'contentType',
  response_topic: 'responseTopic',
  expiry: 'messageExpiryInterval',
  alias: 'topicAlias',
}

function toProperties(given) {
  const properties = {}
  for (const [ours, theirs] of Object.entries(NAMES)) if (ours in given) properties[theirs] = given[ours]
  if ('correlation' in given) properties.correlationData = Buffer.from(given.correlation)
  if ('user' in given) {
    properties.userProperties = {}
    for (const [name, value] of given.user) (properties.userProperties[name] ??= []).push(value)
  }
  return properties
}

function fromProperties(properties) {
  const found = {}
  for (const [ours, theirs] of Object.entries(NAMES)) if (properties[theirs] !== undefined) found[ours] = properties[theirs]
  if (properties.correlationData) found.correlation = properties.correlationData.toString()
  if (properties.userProperties) {
    found.user = Object.entries(properties.userProperties).flatMap(([name, values]) =>
      [values].flat().map((value) => [name, value]))
  }
  if (properties.subscriptionIdentifier !== undefined) {
    found.identifiers = [properties.subscriptionIdentifier].flat().sort((a, b) => a - b)
  }
  return found
}

let client
let login // the exchange that runs
let trusted // what `login` was told: key, ids, the broker's key

function start(command, more) {
  const five = command.version === 5
  const options = {
    host: command.host,
    port: command.port,
    clientId: command.id,
    protocolVersion: five ? 5 : 4,
    clean: command.clean,
    reconnectPeriod: 200,
    resubscribe: false,
    manualConnect: true,
    protocol: { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' }[command.over],
    ...more,
  }
  if (['tls', 'wss'].includes(command.over)) options.ca = readFileSync(command.ca)
  if (five) options.properties = { sessionExpiryInterval: command.expiry ?? 0, ...more.properties }
  if (command.will) {
    const { topic, payload, qos, retain, delay, ...rest } = command.will
    options.will = { topic, payload, qos, retain }
    if (five) options.will.properties = { willDelayInterval: delay ?? 0, ...toProperties(rest) }
  }
  client = mqtt.connect(options)
  client.on('message', (topic, payload, packet) => say('message', {
    topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain,
    properties: fromProperties(packet.properties ?? {}),
  }))
  client.on('close', () => say('disconnected'))
  // A lost connection is no error to report: the library comes back. A refusal has a code.
  client.on('error', (error) => error.syscall || say('error', { code: error.code ?? null, message: error.message }))
}

const commands = {
  connect(command) {
    start(command, { username: command.id, password: command.password })
    client.on('connect', (packet) => say('connected', {
      code: packet.reasonCode ?? packet.returnCode, session_present: packet.sessionPresent,
    }))
    client.connect()
  },

  // Enhanced authentication: the library's hook is `handleAuth`.
  login(command) {
    trusted = { seed: command.seed, id: command.id, brokerId: command.broker_id, brokerKey: command.broker_key }
    login = new Login(trusted, [0, command.clean, command.expiry ?? 0, null])
    start(command, {
      reconnectPeriod: 0,
      properties: { authenticationMethod: METHOD, authenticationData: login.open() },
    })
    client.handleAuth = (packet, done) => {
      try {
        const data = packet.properties.authenticationData
        if (packet.reasonCode === 0x18) {
          const properties = { authenticationMethod: METHOD, authenticationData: login.prove(data) }
          done(null, { cmd: 'auth', reasonCode: 0x18, properties })
        } else {
          login.confirm(data)
          say('reauthenticated')
          done()
        }
      } catch (error) {
        done(error)
      }
    }
    client.on('connect', (packet) => {
      try {
        login.confirm(packet.properties?.authenticationData)
      } catch (error) {
        say('distrusted', { message: error.message })
        client.end(true)
        return
      }
      say('connected', { code: packet.reasonCode, session_present: packet.sessionPresent })
    })
    client.connect()
  },

  // The library has no public call that starts this; what it sends everything with is used instead.
  reauthenticate() {
    login = new Login(trusted, [1])
    const properties = { authenticationMethod: METHOD, authenticationData: login.open() }
    client._sendPacket({ cmd: 'auth', reasonCode: 0x19, properties })
  },

  subscribe({ filter, qos, identifier }) {
    const options = identifier === undefined ? { qos } : { qos, properties: { subscriptionIdentifier: identifier } }
    client.subscribe(filter, options, (_error, _granted, packet) => say('subscribed', { codes: packet.granted }))
  },

  publish({ topic, payload, qos, retain, properties }) {
    const options = { qos, retain }
    if (client.options.protocolVersion === 5) options.properties = toProperties(properties ?? {})
    client.publish(topic, payload, options, (error, packet) =>
      say('published', { code: error ? error.code : (packet?.reasonCode ?? 0) }))
  },

  disconnect() {
    client.end()
  },
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const command = JSON.parse(line)
    commands[command.do](command)
  })
  .on('close', () => process.exit())
