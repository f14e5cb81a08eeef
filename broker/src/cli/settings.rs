//! `keygate config check` and `keygate config show`, and the settings of `serve`.

use super::Context;
use super::args::SettingsArgs;
use super::failure::{Failure, Kind};
use crate::config::{Config, ConfigErrors, Flags, Given, load};
use serde_json::json;
use std::fmt::Write as _;

/// What the file and the flags say.
pub(super) fn given(
    args: &SettingsArgs,
    log: Option<String>,
) -> Result<(Given, Flags), ConfigErrors> {
    let given = match &args.config {
        Some(path) => load(path)?,
        None => Given::default(),
    };
    let flags = Flags {
        mqtt: args.mqtt,
        mqtts: args.mqtts,
        ws: args.ws,
        wss: args.wss,
        engine: args.engine,
        upstream: args.upstream.clone(),
        cert: args.cert.clone(),
        key: args.key.clone(),
        coap: args.coap,
        allow_plain: args.allow_plain,
        log,
    };
    Ok((given, flags))
}

/// The settings, checked.
pub(super) fn config(args: &SettingsArgs, log: Option<String>) -> Result<Config, ConfigErrors> {
    let (given, flags) = given(args, log)?;
    given.check(&flags)
}

pub(super) fn check(
    context: &mut Context,
    args: &SettingsArgs,
    log: Option<String>,
) -> Result<(), Failure> {
    // The question was whether they are well; "no" is an answer, not a wrong question.
    config(args, log).map_err(|errors| Failure::Told {
        kind: Kind::Failed,
        message: errors.to_string(),
    })?;
    let text = match &args.config {
        Some(path) => format!("{}: all well", path.display()),
        None => {
            "no file was given (--config FILE): the defaults hold, but for what flags say".into()
        }
    };
    context.screen.result(&json!({"ok": true}), text)
}

pub(super) fn show(
    context: &mut Context,
    args: &SettingsArgs,
    log: Option<String>,
) -> Result<(), Failure> {
    let (given, flags) = given(args, log)?;
    let config = given.check(&flags)?;
    let settings = given.settings(&flags, &config);
    let mut text = String::new();
    let mut table = "";
    for setting in &settings {
        if setting.table != table {
            table = setting.table;
            // Writing to a String does not fail.
            // A table that is there means something even when it is empty.
            let mut of_table = settings.iter().filter(|setting| setting.table == table);
            let mark = match of_table.any(|setting| setting.value.is_some()) {
                true => "",
                false => "# ",
            };
            let _ = writeln!(text, "\n{mark}[{table}]");
        }
        let (mark, value) = match &setting.value {
            Some(value) => ("", value.to_string()),
            None => ("# ", "off".into()),
        };
        let line = format!("{mark}{} = {value}", setting.name);
        let _ = writeln!(text, "{line:<40} # {}", setting.from);
    }
    context.screen.result(&settings, text.trim_end())
}
