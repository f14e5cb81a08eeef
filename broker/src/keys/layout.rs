//! Where what lies in a data directory.
use std::path::{Path, PathBuf};

/// Where what lies in a data directory. Only names: nothing is opened or checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The names in this directory.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Held by the process that works on the directory; holds its process id.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Who this broker is.
    #[must_use]
    pub fn broker_file(&self) -> PathBuf {
        self.root.join("broker.json")
    }

    /// The devices.
    #[must_use]
    pub fn identity_db(&self) -> PathBuf {
        self.root.join("identity.db")
    }

    /// Space for `identity.db` on a full disk.
    #[must_use]
    pub fn identity_reserve(&self) -> PathBuf {
        self.root.join("identity.reserve")
    }

    /// Sessions, queues, retained messages.
    #[must_use]
    pub fn state_db(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// Space for `state.db` on a full disk.
    #[must_use]
    pub fn state_reserve(&self) -> PathBuf {
        self.root.join("state.reserve")
    }

    /// The name of the admin socket, to be bound relative to [`root`](Self::root): absolute ones end at 107 bytes.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.root.join(Self::ADMIN_SOCKET_NAME)
    }

    /// The admin socket's name within the directory.
    pub const ADMIN_SOCKET_NAME: &'static str = "admin.sock";

    /// The directory of private keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The identity key that devices pin.
    #[must_use]
    pub fn identity_key_current(&self) -> PathBuf {
        self.keys().join("identity-current.pem")
    }

    /// The identity key that follows.
    #[must_use]
    pub fn identity_key_next(&self) -> PathBuf {
        self.keys().join("identity-next.pem")
    }

    /// The directory of the certificates that the broker makes for itself.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// The certificate of the development CA, which clients trust.
    #[must_use]
    pub fn tls_ca(&self) -> PathBuf {
        self.tls().join("ca.pem")
    }

    /// The private key of the development CA.
    #[must_use]
    pub fn tls_ca_key(&self) -> PathBuf {
        self.tls().join("ca.key")
    }

    /// The server's certificate and then the CA's.
    #[must_use]
    pub fn tls_server(&self) -> PathBuf {
        self.tls().join("server.pem")
    }

    /// The private key of the server's certificate.
    #[must_use]
    pub fn tls_server_key(&self) -> PathBuf {
        self.tls().join("server.key")
    }

    /// The list of token keys with their times.
    #[must_use]
    pub fn token_keys_file(&self) -> PathBuf {
        self.keys().join("token-keys.json")
    }

    /// One token key.
    #[must_use]
    pub fn token_key(&self, number: u32) -> PathBuf {
        self.keys().join(format!("token-{number}.pem"))
    }
}
