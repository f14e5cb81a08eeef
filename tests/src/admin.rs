//! What an operator asks a running broker.
use std::path::Path;

use keygate_broker::admin::client::Connection;
use keygate_broker::admin::command::AddDevice;
use keygate_broker::admin::{Answer, Command};
use keygate_broker::identity::Transition;

use crate::bytes::hex;
use crate::device::Device;

/// Asks the broker that runs on this data directory.
///
/// # Panics
/// When none runs there, or it does not answer.
#[track_caller]
pub fn ask(data: &Path, command: &Command) -> Answer {
    let mut connection = Connection::open(data)
        .expect("the admin socket can be reached")
        .expect("a broker runs on this directory");
    connection
        .ask(command, None, &mut |_| Ok(()))
        .expect("the broker answers")
}

/// Enrols a device.
///
/// # Panics
/// When it is refused.
#[track_caller]
pub fn enrol(data: &Path, device: &Device) {
    let answer = ask(
        data,
        &Command::DeviceAdd(AddDevice {
            id: device.id.clone(),
            public_key: hex(device.public_key().as_bytes()),
            roles: device.roles.clone(),
            groups: device.groups.clone(),
            ..AddDevice::default()
        }),
    );
    assert!(matches!(answer, Answer::Device { .. }), "{answer:?}");
}

/// Suspends, resumes or revokes a device.
///
/// # Panics
/// When it is refused.
#[track_caller]
pub fn transition(data: &Path, id: &str, transition: Transition) {
    let answer = ask(
        data,
        &Command::DeviceTransition {
            id: id.into(),
            transition,
        },
    );
    assert!(
        matches!(answer, Answer::Device { changed: true, .. }),
        "{answer:?}"
    );
}

/// How many devices there are, and the revision of the store: what a refused peer must not change.
///
/// # Panics
/// When the broker does not answer.
#[must_use]
#[track_caller]
pub fn state(data: &Path) -> (u64, u64) {
    match ask(data, &Command::Status) {
        Answer::Status(status) => (status.devices, status.revision),
        other => panic!("expected the status, got {other:?}"),
    }
}
