//! Every bound of the CoAP endpoint, with the reason for its number.

/// Largest datagram taken and sent: what RFC 7252 §4.6 lets every network carry unfragmented.
pub const DATAGRAM_MAX: usize = 1152;

/// Largest body of a request, and what `Size1` names in a 4.13 (RFC 7252 §4.6). A signed token request has 105 bytes.
pub const PAYLOAD_MAX: usize = 1024;

/// Options in one message. Our requests carry at most ten; without a bound, a datagram of one-byte options would cost
/// a thousand small allocations before anybody knows who sent it.
pub const OPTIONS_MAX: usize = 24;

/// How long an Echo value counts, in seconds (SPEC: signed requests; RFC 9175 asks for the shortest that networks bear).
pub const ECHO_WINDOW_S: u32 = 30;

/// How far the wall clock may run from the time that the Echo counts before the endpoint starts to count anew. An
/// Echo's time becomes a token's `iat`, so this is also how wrong `iat` can be.
pub const CLOCK_STEP_MAX_S: u64 = 2;

/// Largest answer to a peer whose address is unproven, beyond three times its request (RFC 9175 §2.3 and §2.6 allow a
/// factor of 3). Counted at the IP level with the smallest headers, IPv4 and UDP with 28 bytes:
/// `answer + 28 <= 3 * (request + 28)`.
pub const UNPROVEN_ANSWER_ALLOWANCE: usize = 2 * 28;

/// Largest answer to a peer whose address is unproven, whatever its request had (RFC 9175 §2.6: 136 bytes).
pub const UNPROVEN_ANSWER_MAX: usize = 136;

/// Credit of one source address (an IPv4 address or an IPv6 /64) for signature verifications: the burst.
pub const SOURCE_CREDIT_MAX: u32 = 2_000;

/// Credit that a source address gets back in a second: as many good requests a second may come from one address.
pub const SOURCE_CREDIT_PER_S: u32 = 1_000;

/// What a request costs whose proof holds.
pub const GOOD_PROOF_COST: u32 = 1;

/// What a request costs whose proof fails: 20 a second from one address after a burst of 40. A good gateway never
/// sends one; a flood of them is what the throttle exists for.
pub const BAD_PROOF_COST: u32 = 50;

/// Verifications a second for all sources together: about half of what one core of a small machine does, so that a
/// flood from many addresses leaves the MQTT shards their time.
pub const VERIFICATIONS_PER_S: u32 = 10_000;

/// The burst of verifications for all sources together.
pub const VERIFICATIONS_BURST: u32 = 10_000;

/// The part of [`VERIFICATIONS_BURST`] that is kept for sources without a recent failure: a flood of bad proofs from
/// many addresses ends above it.
pub const VERIFICATIONS_RESERVE: u32 = 5_000;

/// Cells of each of the two rows in which sources are counted; 12 bytes a cell, allocated once.
pub const SOURCE_CELLS: usize = 4_096;

/// Datagrams taken from one socket before the others, and the shutdown signal, get their turn.
pub const BATCH_MAX: usize = 64;

/// Audit lines about token requests from addresses that are unproven (no valid Echo): such requests cost nothing to
/// send and may bear false addresses, so they must not roll what matters out of the trail.
pub const UNPROVEN_REPORTS_PER_S: u32 = 1;

/// The burst of such lines.
pub const UNPROVEN_REPORTS_BURST: u32 = 100;

const _: () = assert!(PAYLOAD_MAX < DATAGRAM_MAX);
const _: () = assert!(VERIFICATIONS_RESERVE < VERIFICATIONS_BURST);
const _: () = assert!(BAD_PROOF_COST <= SOURCE_CREDIT_MAX);
const _: () = assert!(SOURCE_CELLS.is_power_of_two());
