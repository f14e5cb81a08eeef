//! What the broker says of itself below `$SYS/broker/`, under Mosquitto's names, for whoever has the right to it.
use std::sync::Arc;

use crate::hub::Own;
use crate::telemetry::Figures;

/// The topics, and what they say now.
pub(super) fn statements(figures: &Figures) -> Arc<[Own]> {
    let tally = &figures.tally;
    let received = [
        tally.received_qos0,
        tally.received_qos1,
        tally.received_qos2,
    ];
    let sent = [tally.sent_qos0, tally.sent_qos1, tally.sent_qos2];
    let sessions = tally.sessions_connected + tally.sessions_absent;
    let numbers = [
        ("$SYS/broker/clients/connected", tally.sessions_connected),
        ("$SYS/broker/clients/disconnected", tally.sessions_absent),
        ("$SYS/broker/clients/total", sessions),
        (
            "$SYS/broker/publish/messages/received",
            received.iter().sum(),
        ),
        ("$SYS/broker/publish/messages/sent", sent.iter().sum()),
        (
            "$SYS/broker/publish/messages/dropped",
            tally.lost_by_sessions + tally.lost_by_groups,
        ),
        ("$SYS/broker/bytes/received", tally.bytes_in),
        ("$SYS/broker/bytes/sent", tally.bytes_out),
        ("$SYS/broker/subscriptions/count", figures.subscriptions),
        (
            "$SYS/broker/retained messages/count",
            figures.retained_messages,
        ),
    ];
    let texts = [
        (
            "$SYS/broker/version",
            concat!("keygate ", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        (
            "$SYS/broker/uptime",
            format!("{} seconds", figures.uptime_ms / 1_000),
        ),
    ];
    let numbers = numbers.map(|(topic, number)| (topic, number.to_string()));
    texts
        .into_iter()
        .chain(numbers)
        .map(|(topic, payload)| Own {
            topic: topic.into(),
            payload,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Tally;

    #[test]
    fn figures_have_the_names_of_mosquitto() {
        let tally = Tally {
            sessions_connected: 3,
            sessions_absent: 2,
            received_qos0: 1,
            received_qos2: 4,
            lost_by_groups: 7,
            ..Tally::default()
        };
        let figures = Figures {
            uptime_ms: 61_500,
            tally,
            ..Figures::default()
        };
        let said = statements(&figures);
        for (topic, payload) in [
            ("$SYS/broker/uptime", "61 seconds"),
            ("$SYS/broker/clients/total", "5"),
            ("$SYS/broker/publish/messages/received", "5"),
            ("$SYS/broker/publish/messages/dropped", "7"),
        ] {
            let own = said.iter().find(|own| own.topic == topic);
            assert_eq!(own.map(|own| &*own.payload), Some(payload), "{topic}");
        }
    }
}
