//! Every bound of the broker: its name, why it is that number, its default, and the setting that changes it.
//!
//! A setting is `name = value` under `[limits]` of the configuration file. Nothing in the broker grows without one of
//! these. The protocol's own limits (sizes that two ends must agree on) are constants of `keygate-protocol`.
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Once more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $min:literal..=$max:literal;)+) => {
        /// The bounds of one broker. `Limits::default()` is what a broker without configuration uses.
        #[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits { $($(#[doc = $doc])+ pub $name: $type,)+ }

        impl Default for Limits {
            fn default() -> Self { Self { $($name: $default,)+ } }
        }

        /// How often each bound was reached since the broker started: something was refused, dropped, ended or made to
        /// wait because of it. One counter a bound, of the same name.
        #[derive(Debug, Default)]
        pub struct Reached { $(#[doc = concat!("How often `", stringify!($name), "` was reached.")] pub $name: Count,)+ }

        impl Reached {
            /// Every bound with its count, in the order of the settings.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name.get()),)+].into_iter()
            }
        }

        impl Limits {
            /// The settings that lie outside their allowed range: name, value, the smallest and the largest.
            #[must_use]
            pub fn out_of_range(&self) -> Vec<(&'static str, u64, u64, u64)> {
                let mut outside = Vec::new();
                $(if !($min..=$max).contains(&self.$name) {
                    outside.push((stringify!($name), self.$name as u64, $min as u64, $max as u64));
                })+
                outside
            }
        }
    };
}

limits! {
    /// Bytes that a peer may send before it has proved an identity. A CONNECT with an assertion takes about 700, a will
    /// payload is the rest. Also the most memory that a silent peer can hold.
    pre_auth_bytes: usize = 8_192, 512usize..=262_144usize;
    /// Bytes that a peer may send before TLS and the WebSocket upgrade stand, a proxy's header included: a ClientHello
    /// with post-quantum keys has 2 kB, an upgrade with cookies perhaps 8.
    transport_bytes: usize = 16_384, 2_048usize..=262_144usize;
    /// Milliseconds from accept to the end of the login. A radio link needs two round trips; a silent peer gets no more.
    handshake_ms: u64 = 10_000, 100u64..=300_000u64;
    /// Connections a shard that have not proved an identity. When full, the oldest of them makes room: a flood of silent
    /// peers pushes out itself, never a session.
    handshakes: usize = 4_096, 1usize..=1_000_000usize;
    /// Milliseconds that a refused connection stays open for its peer to read the reason.
    linger_ms: u64 = 1_000, 0u64..=60_000u64;
    /// Connections and sessions a shard. Memory is about 1.2 kB each; descriptors are the usual limit.
    connections: usize = 100_000, 1usize..=10_000_000usize;
    /// Sessions a shard, with and without a connection. One that waits for its client is about 1 kB and its queue.
    sessions: usize = 200_000, 1usize..=10_000_000usize;
    /// Largest MQTT packet that is read or sent (declared in CONNACK as Maximum Packet Size).
    packet_bytes: u32 = 262_144, 1_024u32..=268_435_455u32;
    /// Bytes a shard held for packets of which only a part has arrived.
    reassembly_bytes: usize = 67_108_864, 65_536usize..=17_179_869_184usize;
    /// QoS 1 and 2 publishes of one client that may wait for their acknowledgement (declared as Receive Maximum); also
    /// the most packet ids that are remembered for its QoS 2.
    receive_max: u16 = 1_024, 1u16..=65_535u16;
    /// QoS 1 messages to one client that may wait for its acknowledgement; its own Receive Maximum can only lower it.
    inflight_max: u16 = 1_024, 1u16..=65_535u16;
    /// Messages queued for one slow session behind its window. More ends the session (0x97): a loss is never silent.
    queue_messages: usize = 10_000, 1usize..=10_000_000usize;
    /// Bytes queued for one slow session, for the same reason. A client that leaves as many bytes of answers unread
    /// ends likewise.
    queue_bytes: usize = 8_388_608, 1_024usize..=17_179_869_184usize;
    /// Bytes queued for all sessions of a shard together, connected or not: what a flood into many queues can take of
    /// the memory.
    queued_bytes: usize = 1_073_741_824, 65_536usize..=17_592_186_044_416usize;
    /// Sessions of one identity, where client ids other than its own are allowed; one more login is refused (0x97). A
    /// device with a panel and a few tools needs a handful.
    sessions_per_identity: usize = 16, 1usize..=1_000_000usize;
    /// Seconds that a session outlives its connection, at most: a client's own wish can only lower it, and it is told
    /// (Session Expiry Interval of CONNACK). An MQTT 3.1.1 client with clean session 0 gets exactly this. Default 30
    /// days, 0 keeps no session, 4294967295 lets a client have one for ever.
    session_expiry_max_s: u32 = 2_592_000, 0u32..=4_294_967_295u32;
    /// Seconds of keep-alive, at most; a client that asks for more, or for none, gets this and is told (Server Keep
    /// Alive). MQTT 3.1.1 has no way to be told and keeps what it asked for. 0: as the client asks.
    keep_alive_max_s: u16 = 0, 0u16..=65_535u16;
    /// Topic aliases that a client may set (declared as Topic Alias Maximum); each holds one topic name. 0 is none.
    topic_aliases: u16 = 16, 0u16..=65_535u16;
    /// Topic aliases that we set towards a client that takes them; its own maximum can only lower it. 0 is none.
    topic_aliases_out: u16 = 16, 0u16..=65_535u16;
    /// Bytes in a connection's write buffer above which QoS 0 messages to it are dropped and retained ones wait.
    write_bytes: usize = 262_144, 1_024usize..=1_073_741_824usize;
    /// Subscriptions a session.
    subscriptions: usize = 128, 1usize..=1_000_000usize;
    /// Of them, with a wildcard: each costs every published topic a look.
    wildcard_subscriptions: usize = 32, 1usize..=1_000_000usize;
    /// Unacknowledged messages that one member of a share group may have of it; its Receive Maximum can only lower it.
    /// Few, so that work goes to whoever is done, and little comes back when a member is lost.
    share_credit: u16 = 16, 1u16..=65_535u16;
    /// Messages that may wait in one share group. More are lost to it, and counted: neither publishers nor other
    /// subscribers pay for slow members.
    share_messages: usize = 10_000, 1usize..=10_000_000usize;
    /// Bytes that may wait in one share group, for the same reason.
    share_bytes: usize = 8_388_608, 1_024usize..=17_179_869_184usize;
    /// Levels of a topic name or filter: matching costs by levels.
    topic_levels: usize = 32, 2usize..=32usize;
    /// Retained messages in all.
    retained_messages: usize = 1_000_000, 0usize..=100_000_000usize;
    /// Bytes of retained messages in all.
    retained_bytes: usize = 268_435_456, 0usize..=17_179_869_184usize;
    /// Retained messages that share their first two levels (`devices/dev-1`): what one device can take of the whole.
    retained_branch: usize = 10_000, 1usize..=100_000_000usize;
    /// Retained topics that one subscription looks at in one turn; the rest comes in later turns.
    retained_scan: usize = 256, 1usize..=65_536usize;
    /// Milliseconds between the starts of two commits of the log. Each costs an fsync, which waits for the disk and not for
    /// the processor; 2 is what a QoS 1 publisher hardly notices and keeps the fsyncs at 500 a second.
    log_commit_ms: u64 = 2, 0u64..=1_000u64;
    /// Changes that wait for the log to be durable; above it no publisher is read. A tenth of a second at 200,000 a second:
    /// more would only be a longer queue in front of the same disk.
    log_window_ops: usize = 20_000, 1usize..=10_000_000usize;
    /// Bytes of such changes, for large messages. Half of the reserve: a window that finds the disk full goes through the
    /// write-ahead log and then into the database.
    log_window_bytes: usize = 8_388_608, 1_024usize..=1_073_741_824usize;
    /// Bytes set aside beside each database, given back when the disk is full, so that revocations, acknowledgements and
    /// deletions still succeed. Beside `state.db` never less than twice `log_window_bytes`.
    reserve_bytes: u64 = 16_777_216, 1_048_576u64..=17_179_869_184u64;
    /// Bytes that wait to be written to one end of a relayed session; above it the other end is not read. A window of TCP:
    /// more only fills memory, less holds up a fast pair. One packet of the largest size always passes.
    relay_bytes: usize = 262_144, 1_024usize..=1_073_741_824usize;
    /// Topic filters of a relayed client that wait for the upstream's SUBACK or UNSUBACK; while there are more, its next
    /// SUBSCRIBE waits unread. A client that asks for one filter at a time, and waits for no answer, gets this far.
    relay_subscribes: usize = 256, 1usize..=65_536usize;
    /// Milliseconds from a relayed login to the upstream's CONNACK, the connection to it included. Then the client is told
    /// that the server is not available: it may try again, and another gate may have a better way.
    relay_open_ms: u64 = 10_000, 100u64..=300_000u64;
    /// Tickets for the embedded rumqttd that are issued within `relay_open_ms`: what a flood of logins can take of
    /// memory. A login beyond them is refused.
    relay_tickets: usize = 65_536, 1usize..=1_000_000usize;
    /// Mail in a shard's inbox. When full, the sender stops reading publishers until there is room.
    inbox: usize = 4_096, 2usize..=1_048_576usize;
    /// Events that one turn takes from its sockets, so that no peer keeps a shard from the others.
    turn_events: usize = 256, 1usize..=65_536usize;
    /// Bytes that one turn reads from one connection.
    turn_bytes: usize = 65_536, 1_024usize..=1_048_576usize;
    /// Logins that one turn takes (each costs a signature check): established sessions come first.
    turn_proofs: usize = 32, 1usize..=1_024usize;
    /// Steps of TLS handshakes that one turn takes; each may cost a signature and a key exchange, 100 µs and more.
    turn_handshakes: usize = 16, 1usize..=1_024usize;
    /// Seconds after which every session ends and must log in again; 0 is never.
    session_s: u64 = 0, 0u64..=315_360_000u64;
    /// Events a second about peers that proved nothing, a shard, after a burst of a hundred times as many. The rest is
    /// counted in the trail: whoever is refused on purpose must not roll it over.
    unproven_events_s: u32 = 5, 1u32..=10_000u32;
    /// Refused rights a second of one session that are recorded, after a burst of a hundred times as many.
    denied_events_s: u32 = 1, 1u32..=10_000u32;
    /// Audit events that wait for the writer. What does not fit is counted and the count is recorded. The last eighth is
    /// for what operators do.
    audit_ring: usize = 16_384, 16usize..=1_048_576usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_inside_their_ranges() {
        assert_eq!(Limits::default().out_of_range(), []);
    }

    #[test]
    fn every_value_outside_its_range_is_named() {
        let limits = Limits {
            inbox: 1,
            sessions_per_identity: 0,
            ..Limits::default()
        };
        assert_eq!(
            limits.out_of_range(),
            [
                ("sessions_per_identity", 0, 1, 1_000_000),
                ("inbox", 1, 2, 1_048_576)
            ]
        );
    }

    #[test]
    fn a_packet_fits_the_reassembly_bound() {
        let limits = Limits::default();
        assert!(usize::try_from(limits.packet_bytes).unwrap() <= limits.reassembly_bytes);
        assert!(limits.pre_auth_bytes <= usize::try_from(limits.packet_bytes).unwrap());
    }
}
