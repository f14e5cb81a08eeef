//! The budgets of the design (§11).

/// Keygate's processor time for a login and a subscription, as a share of Mosquitto's password login.
pub(crate) const LOGIN_RATIO_MAX: f64 = 1.0;
/// Resident bytes of an idle connection: the target, and the limit that is Mosquitto's.
pub(crate) const CONNECTION_BYTES_TARGET: f64 = 1_200.0;
pub(crate) const CONNECTION_BYTES_MAX: f64 = 1_900.0;
/// Processor time of a QoS 1 message, as a share of Mosquitto's, where nothing must be kept.
pub(crate) const MESSAGE_RATIO_MAX: f64 = 0.9;
/// Any operation with many connections, as a multiple of the same with few.
pub(crate) const GROWTH_MAX: f64 = 1.3;
