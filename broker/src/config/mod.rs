//! Settings: what a file and flags say, checked once and as a whole.
//!
//! [`load`] reads the file, [`Given::check`] lays the flags over it and makes a [`Config`], in which no invalid value
//! is representable. Settings that do not exist are refused, with the line and the one that was probably meant:
//!
//! ```
//! use keygate_broker::config::{Flags, parse};
//!
//! let given = parse("[listeners]\nmqtt = \"127.0.0.1:1883\"\n", "keygate.toml").unwrap();
//! let config = given.check(&Flags::default()).unwrap();
//! assert_eq!(config.mqtt(), Some("127.0.0.1:1883".parse().unwrap()));
//! assert_eq!(config.coap(), None);
//!
//! let refused = parse("[listeners]\nmqqt = \"127.0.0.1:1883\"\n", "keygate.toml").unwrap_err();
//! assert_eq!(refused.to_string(), "keygate.toml:2: unknown setting `mqqt`; did you mean `mqtt`?");
//! ```

mod address;
mod checked;
mod engine;
mod error;
mod raw;
mod show;
#[cfg(test)]
mod tests;
mod transports;

pub use address::{AddressError, parse_address};
pub use checked::{Anonymous, AssertionReuse, Config, Flags, PublishRefusal, SubscribeRefusal};
pub use engine::{Engine, UpstreamSettings};
pub use error::{ConfigError, ConfigErrors};
pub use raw::{Given, load, parse};
pub use show::{From, Setting};
pub use transports::{Binding, CertificatePaths, MqttListeners, PlainTls, TlsVersion};
