// kg-ed25519 from protocol/SPEC.md alone, with what Node brings along. Section numbers (§) are those of SPEC.md.
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign, verify } from 'node:crypto'

export const METHOD = 'kg-ed25519'
const CONTEXT = 'keygate mqtt auth v1'

const sha256 = (data) => createHash('sha256').update(data).digest()

// --- Deterministic CBOR (§1): null, booleans, non-negative integers, bytes, texts, lists ---

function head(major, n) {
  if (n < 24) return Buffer.from([(major << 5) | n])
  if (n < 0x100) return Buffer.from([(major << 5) | 24, n])
  if (n < 0x10000) return Buffer.from([(major << 5) | 25, n >> 8, n & 0xff])
  const four = Buffer.alloc(5)
  four[0] = (major << 5) | 26
  four.writeUInt32BE(n, 1)
  return four
}

function cbor(value) {
  if (value === null) return Buffer.from([0xf6])
  if (typeof value === 'boolean') return Buffer.from([value ? 0xf5 : 0xf4])
  if (typeof value === 'number') return head(0, value)
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value])
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
  return Buffer.concat([head(4, value.length), ...value.map(cbor)])
}

// --- Keys (§3) ---

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

const privateKey = (seed) => createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' })
const publicKey = (raw) => createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' })
const rawOf = (key) => createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32)
const keyId = (raw) => sha256(Buffer.concat([Buffer.from('a301012006215820', 'hex'), raw])).subarray(0, 8)

// --- The login (§4). One value is one exchange: open, prove, confirm. ---

export class Login {
  // `opening`: [0, clean start, session expiry in s, null] for a CONNECT without a will, [1] for a re-authentication.
  constructor({ seed, id, brokerId, brokerKey }, opening) {
    this.key = privateKey(Buffer.from(seed, 'hex'))
    this.id = id
    this.brokerId = brokerId
    this.pinned = Buffer.from(brokerKey, 'hex')
    this.opening = sha256(cbor(opening))
    this.kid = keyId(rawOf(this.key))
    this.brokerKid = keyId(this.pinned)
    this.nonce = randomBytes(16)
  }

  open() {
    return cbor([1, this.nonce, this.kid, this.brokerKid, 0])
  }

  toBeSigned(role) {
    const payload = cbor([CONTEXT, role, this.brokerId, this.id, this.kid, this.brokerKid, this.nonce,
      this.brokerNonce, Buffer.alloc(0), this.opening])
    return cbor(['Signature1', Buffer.from('a10132', 'hex'), Buffer.alloc(0), payload])
  }

  // A challenge has one encoding for a nonce and a broker id: whatever differs from it is refused (§4.3).
  prove(challenge) {
    const nonce = challenge.subarray(3, 35)
    if (nonce.length !== 32 || !cbor([nonce, this.brokerId]).equals(challenge)) {
      throw new Error('the challenge is malformed or names another broker')
    }
    this.brokerNonce = Buffer.from(nonce)
    return sign(null, this.toBeSigned('device'), this.key)
  }

  // Until this returned, the login has not succeeded (§4.5).
  confirm(proof) {
    const good = Buffer.isBuffer(proof) && proof.length === 64 &&
      verify(null, this.toBeSigned('broker'), publicKey(this.pinned), proof)
    if (!good) throw new Error('the broker did not prove itself')
  }
}
