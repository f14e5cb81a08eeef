//! The broker's own keys, and the directory that everything it must not lose lives in.
//!
//! | item | what it is |
//! |---|---|
//! | [`DataDir`] | the data directory, opened: private, locked, initialised |
//! | [`Layout`] | where what lies in it; for those who look without opening it |
//! | [`IdentityKeys`] | what proves the broker to devices: the key they pin, and the one that comes next |
//! | [`TokenKeys`] | what signs access tokens: one signs, all live ones verify |
//! | [`generate_key_file`], [`read_key_file`] | a device's own key in a file, for the command line |
//!
//! Private keys are files of their own (mode 0600, PKCS#8 PEM, which openssl reads), never rows of a database: a copy
//! of the database gives nothing away.

mod atomic;
mod broker_keys;
mod certificates;
mod data_dir;
mod error;
mod json_file;
mod key_file;
mod layout;

pub use broker_keys::{IdentityKey, IdentityKeys, TokenKey, TokenKeys};
pub use data_dir::DataDir;
pub use error::{DataDirError, KeyFileError};
pub use key_file::{generate_key_file, read_key_file};
pub use layout::Layout;
