//! Who takes part in a run: names and keys, all derived from one seed, so that a million devices need no files.

use hkdf::Hkdf;
use keygate_protocol::crypto::SoftwareSigner;
use sha2::Sha256;

use crate::enrol::hex;

/// Device ids begin so unless a run says otherwise.
pub const PREFIX_DEFAULT: &str = "dev";

/// Longest prefix: ids are at most 64 characters and `-gw-` with ten digits may follow.
pub const PREFIX_LEN_MAX: usize = 40;

/// Half of what is derived: 128 bits are enough for a password.
const PASSWORD_BYTES: usize = 16;

/// Key indices below this are devices; the other kinds begin at multiples of it, so that no two members ever share a
/// key, whatever the sizes of a run.
const KIND_STRIDE: u64 = 1 << 48;

/// One participant of a run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Member {
    /// A device of the fleet.
    Device(u32),
    /// A gateway that fetches tokens over CoAP.
    Gateway(u32),
    /// The witness that receives every report.
    Watcher,
    /// The operator's side: it tells devices what to become.
    Controller,
    /// Holds a key that is never enrolled and claims to be a device.
    Impostor(u32),
}

impl Member {
    /// The index that the member's key derives from.
    #[must_use]
    pub const fn key_index(self) -> u64 {
        match self {
            Self::Device(index) => index as u64,
            Self::Gateway(index) => KIND_STRIDE + index as u64,
            Self::Watcher => 2 * KIND_STRIDE,
            Self::Controller => 2 * KIND_STRIDE + 1,
            Self::Impostor(index) => 3 * KIND_STRIDE + index as u64,
        }
    }
}

/// Names and keys by member.
///
/// ```
/// use device_sim::identity::{Cast, Member};
///
/// let cast = Cast::new("seed-1", "dev");
/// assert_eq!(cast.id(Member::Device(7)), "dev-000007");
/// assert_eq!(cast.id(Member::Watcher), "sim-watcher");
/// assert_ne!(cast.private_key(Member::Device(0)), cast.private_key(Member::Device(1)));
/// ```
#[derive(Clone, Debug)]
pub struct Cast {
    seed: String,
    prefix: String,
}

impl Cast {
    /// The members that belong to a seed and a prefix.
    #[must_use]
    pub fn new(seed: &str, prefix: &str) -> Self {
        Self {
            seed: seed.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    /// The member's id. Two fleets with different seeds can share a broker if their prefixes differ: then the helpers'
    /// names differ too.
    #[must_use]
    pub fn id(&self, member: Member) -> String {
        let plain = self.prefix == PREFIX_DEFAULT;
        let Self { prefix, .. } = self;
        match member {
            // An impostor is nobody: it takes a real device's name.
            Member::Device(index) | Member::Impostor(index) => format!("{prefix}-{index:06}"),
            Member::Gateway(index) if plain => format!("gw-{index:06}"),
            Member::Gateway(index) => format!("{prefix}-gw-{index:06}"),
            Member::Watcher if plain => "sim-watcher".to_owned(),
            Member::Watcher => format!("{prefix}-watcher"),
            Member::Controller if plain => "sim-controller".to_owned(),
            Member::Controller => format!("{prefix}-controller"),
        }
    }

    /// The device whose id this is; `None` for every other id.
    #[must_use]
    pub fn device_index(&self, id: &str) -> Option<u32> {
        let digits = id.strip_prefix(self.prefix.as_str())?.strip_prefix('-')?;
        // `+5` parses as a number and is no id.
        if digits.len() < 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    }

    /// The member's private key: HKDF-SHA-256 over the seed (design §10).
    #[must_use]
    pub fn private_key(&self, member: Member) -> [u8; 32] {
        derive(&self.seed, member.key_index())
    }

    /// The member's password for brokers that know no keys, derived as keys are: 32 hex digits.
    #[must_use]
    pub fn password(&self, member: Member) -> String {
        let bytes = expand(&self.seed, b"password", member.key_index());
        hex(bytes.get(..PASSWORD_BYTES).unwrap_or_default())
    }

    /// A signer that holds the member's key.
    #[must_use]
    pub fn signer(&self, member: Member) -> SoftwareSigner {
        SoftwareSigner::from_seed(&self.private_key(member))
    }

    /// What all keys derive from.
    #[must_use]
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// How the ids begin.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// The private key of a seed and an index.
#[must_use]
pub fn derive(seed: &str, index: u64) -> [u8; 32] {
    expand(seed, b"key", index)
}

fn expand(seed: &str, purpose: &[u8], index: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    Hkdf::<Sha256>::new(Some(b"device-sim"), seed.as_bytes())
        .expand_multi_info(&[purpose, &index.to_be_bytes()], &mut bytes)
        .expect("32 bytes are far below HKDF's limit of 8160");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_is_the_published_example() {
        let key = derive("seed-1", 0);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        // keygate-vectors.json, device_sim_key_0
        assert_eq!(
            hex,
            "f6c450950a6a205d0abcb28ea1ab7372750f582673d92d9ab3a48dd3de219c4c"
        );
    }

    #[test]
    fn passwords_derive_apart_from_keys() {
        let cast = Cast::new("seed-1", "dev");
        let password = cast.password(Member::Device(0));
        assert_eq!(password.len(), 32);
        assert_eq!(
            password,
            Cast::new("seed-1", "other").password(Member::Device(0))
        );
        assert_ne!(password, cast.password(Member::Device(1)));
        assert!(!hex(&cast.private_key(Member::Device(0))).contains(&password));
    }

    #[test]
    fn members_never_share_a_key() {
        let last_device = Member::Device(u32::MAX);
        let members = [
            last_device,
            Member::Gateway(0),
            Member::Gateway(u32::MAX),
            Member::Watcher,
            Member::Controller,
            Member::Impostor(0),
        ];
        for (position, one) in members.iter().enumerate() {
            for other in &members[position + 1..] {
                assert_ne!(one.key_index(), other.key_index(), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn device_ids_read_back() {
        let cast = Cast::new("s", "dev");
        for index in [0, 7, 999_999, 1_000_000] {
            assert_eq!(
                cast.device_index(&cast.id(Member::Device(index))),
                Some(index)
            );
        }
        for other in [
            "dev-1",
            "dev-+00001",
            "dev-00000x",
            "gw-000001",
            "dev000001",
            "sim-watcher",
        ] {
            assert_eq!(cast.device_index(other), None, "{other}");
        }
    }

    #[test]
    fn another_prefix_renames_everybody() {
        let cast = Cast::new("s", "acme");
        assert_eq!(cast.id(Member::Device(1)), "acme-000001");
        assert_eq!(cast.id(Member::Gateway(1)), "acme-gw-000001");
        assert_eq!(cast.id(Member::Watcher), "acme-watcher");
        assert_eq!(cast.id(Member::Controller), "acme-controller");
        assert_eq!(cast.id(Member::Impostor(1)), "acme-000001");
    }
}
