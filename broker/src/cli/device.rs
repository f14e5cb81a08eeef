//! `keygate device …`.

use super::Context;
use super::args::{AddArgs, DeviceCommand, ListArgs};
use super::event::{From, method_name};
use super::failure::Failure;
use super::key;
use super::screen::shown;
use super::time::{Relative, Utc};
use crate::admin::command::{AddDevice, KeyRecord};
use crate::admin::{Answer, Command, Desk, DeviceRecord};
use crate::identity::Transition;
use crate::keys::generate_key_file;
use crate::telemetry::event::{Event, EventKind, Outcome};
use crate::telemetry::trail::{Filter, last};
use keygate_protocol::time::UnixTime;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Rows that the widths of a table are taken from: nobody waits for the last of 100,000 to see the first.
const ROWS_MEASURED: usize = 1_000;
/// Events of one device that `show` looks back on.
const LOOK_BACK: usize = 200;

pub(super) fn run(context: &mut Context, command: DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add(args) => add(context, args),
        DeviceCommand::Import { file } => import(context, &file),
        DeviceCommand::List(args) => list(context, args),
        DeviceCommand::Show(device) => show(context, device.id),
        DeviceCommand::Suspend(device) => transit(context, device.id, Transition::Suspend),
        DeviceCommand::Resume(device) => transit(context, device.id, Transition::Resume),
        DeviceCommand::Revoke(device) => transit(context, device.id, Transition::Revoke),
    }
}

#[derive(Serialize)]
struct Added<'a> {
    #[serde(flatten)]
    device: &'a DeviceRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
}

fn add(context: &mut Context, args: AddArgs) -> Result<(), Failure> {
    // First whether there is anybody to enrol at, then the key.
    let given = args
        .key
        .public_key
        .as_deref()
        .map(key::public_key)
        .transpose()?;
    let mut desk = context.desk()?;
    let public_key = match (given, &args.key.generate) {
        (Some(key), _) => key,
        (None, Some(path)) => generate_key_file(path, &mut *context.random)?,
        (None, None) => {
            return Err(Failure::wrong_use(
                "give --public-key KEY or --generate FILE",
            ));
        }
    };
    let command = Command::DeviceAdd(AddDevice {
        id: args.id,
        public_key: crate::admin::command::hex(public_key.as_bytes()),
        roles: args.roles,
        groups: args.groups,
        attributes: args.attributes.into_iter().collect(),
        via: args.via,
    });
    let device = match device(&mut desk, command) {
        Ok((device, _)) => device,
        Err(failure) => {
            if let Some(path) = &args.key.generate {
                // A key that belongs to nobody; the next attempt needs the name.
                let _ = std::fs::remove_file(path);
            }
            return Err(failure);
        }
    };
    let key_file = args.key.generate.map(|path| path.display().to_string());
    let mut text = format!(
        "{} is enrolled with key {} and role{} {}.",
        device.id,
        device.keys.first().map_or("", |key| &key.key_id),
        if device.roles.len() == 1 { "" } else { "s" },
        device.roles.join(", "),
    );
    if let Some(file) = &key_file {
        text.push_str(&format!(
            "\nIts private key is in {file}: give it to the device, keep no copy."
        ));
    }
    let added = Added {
        device: &device,
        key_file,
    };
    context.screen.result(&added, text)
}

fn import(context: &mut Context, file: &Path) -> Result<(), Failure> {
    let input: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let file = File::open(file)
            .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
        Box::new(file)
    };
    let mut desk = context.desk()?;
    let screen = &context.screen;
    let answer = desk.ask(Command::DeviceImport, Some(input), &mut |answer| {
        if let Answer::Progress {
            devices, storing, ..
        } = answer
        {
            let doing = if storing { "writing" } else { "reading" };
            screen.progress(format_args!("{doing}: {devices} devices"));
        }
        Ok(())
    });
    screen.progress("");
    match answer? {
        Answer::Imported {
            added,
            unchanged,
            lines,
        } => {
            let result =
                serde_json::json!({"added": added, "unchanged": unchanged, "lines": lines});
            let text =
                format!("{added} devices enrolled, {unchanged} were enrolled already exactly so.");
            context.screen.result(&result, text)
        }
        other => Err(unexpected(other)),
    }
}

fn list(context: &mut Context, args: ListArgs) -> Result<(), Failure> {
    let mut desk = context.desk()?;
    let command = Command::DeviceList {
        after: args.after,
        // One more tells whether there is another page.
        limit: args.limit.map(|limit| limit.saturating_add(1)),
        state: args.state.map(Into::into),
        group: args.group,
    };
    let mut table = Table::new(context, args.limit.unwrap_or(u64::MAX));
    let answer = desk.ask(command, None, &mut |answer| match answer {
        Answer::Item { device } => table.row(device),
        _ => Ok(()),
    })?;
    let more = table.end().map_err(|error| Failure::output(&error))?;
    context.screen.flush()?;
    match answer {
        Answer::End { count: 0 } if !context.screen.is_json() => {
            context.screen.note("no such device");
            Ok(())
        }
        Answer::End { .. } => {
            if let Some(last) = more {
                context
                    .screen
                    .note(format!("There are more; the next page: --after {last}"));
            }
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

/// A table that is printed while it comes: the first rows are kept back until the widths are known.
struct Table<'a> {
    context: &'a mut Context,
    kept: Vec<DeviceRecord>,
    id_width: usize,
    measured: bool,
    left: u64,
    last: Option<String>,
    more: bool,
}

impl<'a> Table<'a> {
    fn new(context: &'a mut Context, limit: u64) -> Self {
        Self {
            context,
            kept: Vec::new(),
            id_width: "ID".len(),
            measured: false,
            left: limit,
            last: None,
            more: false,
        }
    }

    fn row(&mut self, device: DeviceRecord) -> io::Result<()> {
        if self.left == 0 {
            self.more = true;
            return Ok(());
        }
        self.left -= 1;
        self.last = Some(device.id.clone());
        if self.measured || self.context.screen.is_json() {
            return self.print(&device);
        }
        self.id_width = self.id_width.max(device.id.len());
        self.kept.push(device);
        if self.kept.len() >= ROWS_MEASURED {
            self.print_kept()?;
        }
        Ok(())
    }

    fn print_kept(&mut self) -> io::Result<()> {
        self.measured = true;
        let kept = std::mem::take(&mut self.kept);
        if !kept.is_empty() {
            let (id, width) = ("ID", self.id_width);
            let head = format!(
                "{id:<width$}  {:<9}  {:<16}  {:<16}  GROUPS",
                "STATE", "KEY", "ROLES"
            );
            // JSON has no head, and keeps no rows back.
            self.context.screen.put(&(), head)?;
        }
        kept.iter().try_for_each(|device| self.print(device))
    }

    fn print(&mut self, device: &DeviceRecord) -> io::Result<()> {
        let key = match device.keys.as_slice() {
            [key] => key.key_id.clone(),
            keys => format!("{} keys", keys.len()),
        };
        let (id, width) = (&device.id, self.id_width);
        let row = format!(
            "{id:<width$}  {:<9}  {key:<16}  {:<16}  {}",
            device.state.as_str(),
            device.roles.join(","),
            device.groups.join(",")
        );
        self.context.screen.put(device, row.trim_end())
    }

    /// Prints the rest; the last id if there is another page.
    fn end(mut self) -> io::Result<Option<String>> {
        self.print_kept()?;
        Ok(self.last.filter(|_| self.more))
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    device: &'a DeviceRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login: Option<&'a Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_refusal: Option<&'a Event>,
}

fn show(context: &mut Context, id: String) -> Result<(), Failure> {
    super::flush_trail(context);
    let filter = Filter {
        id: Some(id.clone()),
        refused: false,
    };
    let (device, _) = device(&mut context.desk()?, Command::DeviceShow { id })?;
    // A trail that cannot be read is no reason not to show the device.
    let events = last(&context.data, &filter, LOOK_BACK)
        .unwrap_or_default()
        .events;
    let newest = |wanted: &dyn Fn(&Event) -> bool| events.iter().rev().find(|event| wanted(event));
    let shown = Shown {
        device: &device,
        last_login: newest(&|event| {
            matches!(
                event.kind,
                EventKind::Login {
                    outcome: Outcome::Accepted,
                    ..
                }
            )
        }),
        last_refusal: newest(&|event| event.kind.is_refusal()),
    };
    let text = in_words(&shown, context.clock.wall());
    context.screen.result(&shown, text)
}

fn in_words(shown_device: &Shown<'_>, now: UnixTime) -> String {
    let device = shown_device.device;
    let mut text = format!("{}\n  state         {}\n", device.id, device.state);
    // Writing to a String does not fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12}  {value}");
    };
    line("roles", device.roles.join(", "));
    if !device.groups.is_empty() {
        line("groups", device.groups.join(", "));
    }
    if !device.via.is_empty() {
        line("via", device.via.join(", "));
    }
    for (name, value) in &device.attributes {
        line("attribute", format!("{name} = {}", shown(value)));
    }
    for key in &device.keys {
        line("key", format!("{}  {}", key.key_id, validity(key, now)));
        line("", key.public_key.clone());
    }
    let when = |event: &Event| {
        let ago = Relative {
            time: event.wall,
            now,
        };
        format!("{} ({ago})", Utc(event.wall))
    };
    if let Some(event) = shown_device.last_login
        && let EventKind::Login { method, origin, .. } = &event.kind
    {
        let method = method.map_or("", method_name);
        line(
            "last login",
            format!("{}, {method}, {}", when(event), From(origin)),
        );
    }
    if let Some(event) = shown_device.last_refusal {
        let hint = format!("keygate why {}", device.id);
        line("last refusal", format!("{}; see: {hint}", when(event)));
    }
    text.trim_end().to_owned()
}

fn validity(key: &KeyRecord, now: UnixTime) -> String {
    let until = key
        .not_after
        .map(|time| format!("until {}", Utc(UnixTime(time))));
    let since = key
        .not_before
        .map(|time| format!("from {}", Utc(UnixTime(time))));
    let span: Vec<String> = since.into_iter().chain(until).collect();
    let state = if key.not_before.is_some_and(|time| now.0 < time) {
        "not valid yet"
    } else if key.not_after.is_some_and(|time| time <= now.0) {
        "expired"
    } else {
        "valid"
    };
    format!("{state} {}", span.join(" ")).trim_end().to_owned()
}

fn transit(context: &mut Context, id: String, transition: Transition) -> Result<(), Failure> {
    let command = Command::DeviceTransition { id, transition };
    let (device, changed) = device(&mut context.desk()?, command)?;
    let text = match changed {
        true => format!("{} is {} now.", device.id, device.state),
        false => format!("{} was {} already.", device.id, device.state),
    };
    context.screen.result(&device, text)
}

/// Gives a command that is answered with a device.
fn device(desk: &mut Desk, command: Command) -> Result<(DeviceRecord, bool), Failure> {
    match desk.ask(command, None, &mut |_| Ok(()))? {
        Answer::Device { device, changed } => Ok((device, changed)),
        other => Err(unexpected(other)),
    }
}

fn unexpected(answer: Answer) -> Failure {
    match answer {
        Answer::Error(error) => error.into(),
        other => Failure::failed(format!("unexpected answer of another version: {other:?}")),
    }
}
