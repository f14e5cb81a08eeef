//! What was measured, as rows that people and scripts can read.
use std::fmt::Write;

use keygate_tests::measure::Kind;
use serde::Serialize;

use crate::budgets::{
    CONNECTION_BYTES_MAX, CONNECTION_BYTES_TARGET, GROWTH_MAX, LOGIN_RATIO_MAX, MESSAGE_RATIO_MAX,
};
use crate::round::{Case, Figures, PHASES_OVER_TLS};

const PHASES: [&str; 3] = [
    "message, one to one",
    "message, bursts of 16",
    "message, 500 to one",
];

/// One line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    table: String,
    name: String,
    unit: &'static str,
    keygate: f64,
    /// Mosquitto, or Keygate with few connections.
    other: f64,
    ratio: f64,
    budget: Option<Budget>,
}

/// What a row must hold.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Budget {
    /// Of the ratio.
    RatioMax(f64),
    /// Of Keygate's figure itself: the limit, and the target that it should reach.
    FigureMax { limit: f64, target: f64 },
}

impl Row {
    /// Whether it misses its budget.
    pub(crate) fn missed(&self) -> bool {
        match self.budget {
            None => false,
            Some(Budget::RatioMax(max)) => self.ratio > max,
            Some(Budget::FigureMax { limit, .. }) => self.keygate > limit,
        }
    }

    fn verdict(&self) -> String {
        let word = if self.missed() { "MISSED" } else { "held" };
        match self.budget {
            None => String::new(),
            Some(Budget::RatioMax(max)) => format!("at most {max:.2}  {word}"),
            Some(Budget::FigureMax { limit, target }) => {
                let word = if !self.missed() && self.keygate > target {
                    "held, target missed"
                } else {
                    word
                };
                format!(
                    "at most {limit:.0} (target {target:.0}) {}  {word}",
                    self.unit
                )
            }
        }
    }
}

/// All rows, table by table.
pub(crate) fn rows(measured: &[(Case, Figures)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for pair in measured.chunks_exact(2) {
        if let [(case, keygate), (_, other)] = pair {
            rows.extend(beside(case, keygate, other));
        }
    }
    rows.extend(growth(measured));
    rows
}

/// Keygate beside Mosquitto.
fn beside(case: &Case, keygate: &Figures, other: &Figures) -> Vec<Row> {
    let promise = if case.durable {
        "persistent sessions (Keygate: on disk before the PUBACK; Mosquitto: persistence true, no sync)"
    } else {
        "clean sessions"
    };
    let channel = if case.tls { " over TLS 1.3" } else { "" };
    let table = format!("{} connections{channel}, {promise}", case.connections);
    let row = |name: &str, unit, keygate: f64, other: f64, budget| Row {
        table: table.clone(),
        name: name.to_owned(),
        unit,
        keygate,
        other,
        ratio: keygate / other,
        // What is durable has no counterpart to be held to, and the budgets are those of plain TCP.
        budget: if case.durable || case.tls {
            None
        } else {
            budget
        },
    };
    let bytes = Budget::FigureMax {
        limit: CONNECTION_BYTES_MAX,
        target: CONNECTION_BYTES_TARGET,
    };
    let login = Some(Budget::RatioMax(LOGIN_RATIO_MAX));
    let message = Some(Budget::RatioMax(MESSAGE_RATIO_MAX));
    let mut rows = vec![
        row(
            "login + subscription",
            "us",
            keygate.login_us,
            other.login_us,
            login,
        ),
        row("logins", "/s", keygate.logins_s, other.logins_s, None),
        row(
            "idle connection",
            "B",
            keygate.connection_bytes,
            other.connection_bytes,
            Some(bytes),
        ),
        row(
            "broker at rest",
            "ms/s",
            keygate.rest_ms_s,
            other.rest_ms_s,
            None,
        ),
    ];
    let messages = keygate.message_us.iter().zip(&other.message_us);
    let phases = if case.tls {
        PHASES_OVER_TLS
    } else {
        PHASES.len()
    };
    for (name, (keygate, other)) in PHASES.into_iter().zip(messages).take(phases) {
        rows.push(row(name, "us", *keygate, *other, message));
    }
    rows.push(row(
        "PUBACK after, p99",
        "ms",
        keygate.ack_p99_ms,
        other.ack_p99_ms,
        None,
    ));
    rows
}

/// Keygate with many connections beside itself with few.
fn growth(measured: &[(Case, Figures)]) -> Vec<Row> {
    let own =
        |(case, _): &&(Case, Figures)| case.kind == Kind::Keygate && !case.durable && !case.tls;
    let few = measured
        .iter()
        .filter(own)
        .min_by_key(|(case, _)| case.connections);
    let many = measured
        .iter()
        .filter(own)
        .max_by_key(|(case, _)| case.connections);
    let (Some((less, few)), Some((more, many))) = (few, many) else {
        return Vec::new();
    };
    if less.connections == more.connections {
        return Vec::new();
    }
    let table = format!(
        "Keygate with {} connections against {}, clean sessions",
        more.connections, less.connections
    );
    let row = |name: &str, many: f64, few: f64| Row {
        table: table.clone(),
        name: name.to_owned(),
        unit: "us",
        keygate: many,
        other: few,
        ratio: many / few,
        budget: Some(Budget::RatioMax(GROWTH_MAX)),
    };
    let mut rows = vec![row("login + subscription", many.login_us, few.login_us)];
    let messages = many.message_us.iter().zip(&few.message_us);
    for (name, (many, few)) in PHASES.into_iter().zip(messages) {
        rows.push(row(name, *many, *few));
    }
    rows
}

/// For people, and for `docs/performance.md`.
pub(crate) fn text(rounds: usize, rows: &[Row]) -> String {
    let mut text =
        format!("Processor time and memory of the broker's process; medians of {rounds} rounds.\n");
    for table in rows.chunk_by(|one, next| one.table == next.table) {
        let Some(first) = table.first() else { continue };
        let sides = if first.table.starts_with("Keygate with") {
            ["many", "few"]
        } else {
            ["keygate", "mosquitto"]
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{}\n", first.table);
        let _ = writeln!(
            text,
            "| {:<22} | {:>12} | {:>12} | {:>5} | {:<44} |",
            "", sides[0], sides[1], "ratio", "budget"
        );
        let _ = writeln!(
            text,
            "|{:-<24}|{:->13}:|{:->13}:|{:->6}:|{:-<46}|",
            "", "", "", "", ""
        );
        for row in table {
            let figure = |value| format!("{} {}", digits(value), row.unit);
            let _ = writeln!(
                text,
                "| {:<22} | {:>12} | {:>12} | {:>5.2} | {:<44} |",
                row.name,
                figure(row.keygate),
                figure(row.other),
                row.ratio,
                row.verdict()
            );
        }
    }
    let missed: Vec<String> = rows
        .iter()
        .filter(|row| row.missed())
        .map(|row| format!("{}, {}: {:.2}", row.table, row.name, row.ratio))
        .collect();
    text.push('\n');
    if missed.is_empty() {
        text.push_str("Every budget was held.\n");
    } else {
        let _ = writeln!(text, "Missed:\n{}", missed.join("\n"));
    }
    text
}

/// Three digits or so.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// For scripts.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    rounds: usize,
    measured: Vec<Measured>,
    rows: &'a [Row],
}

#[derive(Serialize)]
struct Measured {
    broker: &'static str,
    connections: u32,
    tls: bool,
    durable: bool,
    figures: Figures,
}

impl<'a> Document<'a> {
    pub(crate) fn new(rounds: usize, measured: &[(Case, Figures)], rows: &'a [Row]) -> Self {
        let measured = measured
            .iter()
            .map(|(case, figures)| Measured {
                broker: case.kind.name(),
                connections: case.connections,
                tls: case.tls,
                durable: case.durable,
                figures: *figures,
            })
            .collect();
        Self {
            rounds,
            measured,
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(scale: f64) -> Figures {
        Figures {
            login_us: 100.0 * scale,
            logins_s: 5_000.0 / scale,
            connection_bytes: 1_500.0 * scale,
            rest_ms_s: 0.2,
            message_us: [30.0 * scale; 3],
            ack_p99_ms: 1.0,
        }
    }

    fn measured(keygate: f64) -> Vec<(Case, Figures)> {
        let case = |kind, connections| Case {
            kind,
            tls: false,
            durable: false,
            connections,
        };
        vec![
            (case(Kind::Keygate, 1_000), figures(keygate)),
            (case(Kind::Mosquitto, 1_000), figures(1.0)),
            (case(Kind::Keygate, 10_000), figures(keygate * 2.0)),
            (case(Kind::Mosquitto, 10_000), figures(1.0)),
        ]
    }

    #[test]
    fn a_missed_budget_is_named() {
        let rows = rows(&measured(0.8));
        let missed: Vec<&str> = rows
            .iter()
            .filter(|row| row.missed())
            .map(|row| row.name.as_str())
            .collect();
        // At 10,000 everything costs 1.6 times as much as Mosquitto's, and twice as much as at 1,000.
        let all = ["login + subscription", PHASES[0], PHASES[1], PHASES[2]];
        let beside = [all[0], "idle connection", all[1], all[2], all[3]];
        assert_eq!(missed, [&beside[..], &all[..]].concat());
        assert!(text(3, &rows).contains("MISSED"));
    }

    #[test]
    fn a_limit_can_hold_while_its_target_is_missed() {
        let text = text(3, &rows(&measured(0.9)[..2]));
        assert!(text.contains("held, target missed"), "{text}");
    }

    #[test]
    fn over_tls_rows_say_so_and_have_no_budget() {
        let mut measured = measured(10.0);
        for (case, _) in &mut measured {
            case.tls = true;
        }
        let rows = rows(&measured);
        // Keygate beside Mosquitto twice, and no growth.
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let each = [
            "login + subscription",
            "logins",
            "idle connection",
            "broker at rest",
            PHASES[0],
            "PUBACK after, p99",
        ];
        assert_eq!(names, [each, each].concat());
        assert!(rows.iter().all(|row| row.budget.is_none()));
        let text = text(1, &rows);
        assert!(
            text.contains("\n1000 connections over TLS 1.3, clean sessions\n"),
            "{text}"
        );
    }

    #[test]
    fn what_holds_is_said_so() {
        let measured = &measured(0.5)[..2];
        let rows = rows(measured);
        assert!(!rows.iter().any(Row::missed));
        let text = text(1, &rows);
        assert!(text.ends_with("Every budget was held.\n"), "{text}");
        let json = serde_json::to_value(Document::new(1, measured, &rows)).expect("serialises");
        assert_eq!(json["rows"][0]["ratio"], 0.5);
        assert_eq!(json["measured"][1]["broker"], "mosquitto, password");
    }
}
