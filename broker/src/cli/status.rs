//! `keygate status`.

use super::Context;
use super::failure::Failure;
use crate::admin::client::Connection;
use crate::admin::command::Status;
use crate::admin::{Answer, Command};
use crate::telemetry::Figures;
use std::fmt;

/// Width of the names in front of the values.
const NAME_WIDTH: usize = 14;

/// Asks the running broker; without one there is nothing to count.
pub(super) fn run(context: &mut Context) -> Result<(), Failure> {
    let at = context.data.display();
    let connected = Connection::open(&context.data).map_err(|error| {
        Failure::failed(format!("{at}: the running broker cannot be asked: {error}"))
    })?;
    let Some(mut broker) = connected else {
        return Err(Failure::failed(format!(
            "no broker runs on {at}; start it with: keygate serve --data {at}"
        )));
    };
    match broker.ask(&Command::Status, None, &mut |_| Ok(()))? {
        Answer::Status(status) => context.screen.result(&status, Table(&status)),
        Answer::Error(error) => Err(error.into()),
        _ => Err(Failure::failed("the broker answered something else")),
    }
}

/// A status for people.
struct Table<'a>(&'a Status);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        row(f, "broker", &status.broker_id)?;
        row(f, "version", &status.version)?;
        row(f, "process", &status.pid)?;
        let figures = status.figures.as_ref();
        if let Some(figures) = figures {
            row(f, "uptime", &Uptime(figures.uptime_ms / 1_000))?;
        }
        write!(f, "{:NAME_WIDTH$}{}", "devices", status.devices)?;
        if status.audit_lost > 0 {
            write!(f, "\n{:NAME_WIDTH$}{}", "audit lost", status.audit_lost)?;
        }
        match figures {
            Some(figures) => counted(f, figures),
            None => Ok(()),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display) -> fmt::Result {
    writeln!(f, "{name:NAME_WIDTH$}{value}")
}

fn counted(f: &mut fmt::Formatter<'_>, figures: &Figures) -> fmt::Result {
    let tally = &figures.tally;
    let received = [
        tally.received_qos0,
        tally.received_qos1,
        tally.received_qos2,
    ];
    let sent = [tally.sent_qos0, tally.sent_qos1, tally.sent_qos2];
    let rows = [
        (
            "connections",
            format!(
                "{} now, {} in all",
                tally.connections, tally.connections_total
            ),
        ),
        (
            "logins",
            format!(
                "{} accepted, {} refused",
                tally.logins_accepted, tally.logins_refused
            ),
        ),
        (
            "sessions",
            format!(
                "{} connected, {} absent",
                tally.sessions_connected, tally.sessions_absent
            ),
        ),
        ("subscriptions", figures.subscriptions.to_string()),
        ("received", by_qos(received, tally.bytes_in)),
        ("sent", by_qos(sent, tally.bytes_out)),
        ("queued", format!("{} bytes", tally.queued_bytes)),
        (
            "lost",
            format!(
                "{} by sessions, {} by share groups",
                tally.lost_by_sessions, tally.lost_by_groups
            ),
        ),
        (
            "retained",
            format!(
                "{} messages, {} bytes",
                figures.retained_messages, figures.retained_bytes
            ),
        ),
    ];
    for (name, value) in rows {
        write!(f, "\n{name:NAME_WIDTH$}{value}")?;
    }
    bounds(f, figures)
}

/// The bounds that were reached; the others are in the JSON form.
fn bounds(f: &mut fmt::Formatter<'_>, figures: &Figures) -> fmt::Result {
    let reached: Vec<_> = figures
        .reached
        .iter()
        .filter(|(_, count)| **count > 0)
        .collect();
    let width = reached.iter().map(|(name, _)| name.len()).max();
    let Some(width) = width else {
        return write!(f, "\n\nNo bound was reached.");
    };
    write!(
        f,
        "\n\nBounds that were reached, by their setting under [limits]:"
    )?;
    for (name, count) in reached {
        write!(f, "\n  {name:width$}  {count}")?;
    }
    Ok(())
}

fn by_qos([qos0, qos1, qos2]: [u64; 3], bytes: u64) -> String {
    format!("{qos0} QoS 0, {qos1} QoS 1, {qos2} QoS 2; {bytes} bytes")
}

/// Seconds as days, hours, minutes and seconds.
struct Uptime(u64);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours) = (self.0 / 86_400, self.0 / 3_600 % 24);
        let (minutes, seconds) = (self.0 / 60 % 60, self.0 % 60);
        if days > 0 {
            write!(f, "{days} d ")?;
        }
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Reached;
    use crate::telemetry::Tally;

    #[test]
    fn the_table_names_the_bounds_that_were_reached_and_no_others() {
        let reached = Reached::default();
        reached.queue_messages.add();
        reached.queue_messages.add();
        let status = Status {
            broker_id: "lab".into(),
            version: "1.2.3".into(),
            pid: 7,
            devices: 3,
            figures: Some(Figures {
                uptime_ms: 93_784_999,
                tally: Tally {
                    connections: 2,
                    connections_total: 5,
                    received_qos1: 4,
                    bytes_in: 99,
                    ..Tally::default()
                },
                reached: Figures::of_bounds(&reached),
                ..Figures::default()
            }),
            ..Status::default()
        };
        let text = Table(&status).to_string();
        for line in [
            "broker        lab",
            "uptime        1 d 02:03:04",
            "connections   2 now, 5 in all",
            "received      0 QoS 0, 4 QoS 1, 0 QoS 2; 99 bytes",
            "  queue_messages  2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} in\n{text}");
        }
        assert!(!text.contains("queue_bytes"), "{text}");
    }

    #[test]
    fn without_a_reached_bound_it_says_so() {
        let figures = Some(Figures::default());
        let status = Status {
            figures,
            ..Status::default()
        };
        assert!(
            Table(&status)
                .to_string()
                .ends_with("No bound was reached.")
        );
    }
}
