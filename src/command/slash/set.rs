//! `/set width 768`, and through its name every setting: `/width 768`.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::settings::{Kind, Names, Setting};
use crate::session::{Name, Session};

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "set",
    aliases: &[],
    group: Group::Settings,
    args: &[Arg::optional("setting", ArgKind::Setting), Arg::optional("value", ArgKind::Value)],
    help: "change a setting for all lines that follow, or show it",
    details: &["`default` or `\"\"` leaves it to the model again."],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let Some(setting) = args.setting("setting") else { return Ok(super::show::settings(session)) };
    let Some(value) = args.text("value") else { return Ok(Outcome::Print(current(session, setting))) };
    if !setting.sticky {
        return Err(CommandError::OneLine(setting.name));
    }
    let mut settings = session.settings().clone();
    let old = setting.get(&settings);
    if value.is_empty() || value == "default" {
        setting.clear(&mut settings);
    } else {
        setting.set(&mut settings, value)?;
    }
    let new = setting.get(&settings);
    session.set_settings(settings);
    let text = |value: Option<String>| value.unwrap_or_else(|| "default".into());
    Ok(Outcome::Print(vec![format!("{} {} → {}", setting.name, text(old), text(new))]))
}

/// The value, and the names that it may have.
fn current(session: &Session, setting: &Setting) -> Vec<String> {
    let value = setting.get(session.settings());
    let mut lines =
        vec![format!("{} {}: {}", setting.name, value.as_deref().unwrap_or("default"), setting.help)];
    let names: &[Name] = match setting.kind {
        Kind::Name(Names::Models, _) => &session.catalog.models,
        Kind::Name(Names::Schedulers, _) => &session.catalog.schedulers,
        _ => &[],
    };
    let mark = |name: &Name| if value.as_deref() == Some(&name.name) { '●' } else { ' ' };
    lines.extend(
        names.iter().map(|name| format!("{} {}  {}", mark(name), name.name, name.help).trim_end().to_owned()),
    );
    lines
}
