//! `/use $12`: a picture's settings become the session's.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::request::JobId;
use crate::session::Session;
use crate::session::reference::Reference;
use crate::session::settings::{Kind, SETTINGS};

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "use",
    aliases: &[],
    group: Group::Settings,
    args: &[Arg::optional("picture", ArgKind::Picture)],
    help: "make a picture's settings those of the session, its seed aside",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let job = session.picture(args.picture("picture"))?.id;
    take(session, job)?;
    Ok(super::show::settings(session))
}

/// Makes a picture's settings the session's.
pub fn take(session: &mut Session, job: JobId) -> Result<(), CommandError> {
    let request = &session.picture(Some(&Reference::Number(job)))?.request;
    let mut settings = session.settings().clone();
    let taken = |setting: &&crate::session::settings::Setting| {
        setting.sticky && !matches!(setting.kind, Kind::Seed | Kind::Size)
    };
    for setting in SETTINGS.iter().filter(taken) {
        if let Some(value) = setting.get(request) {
            setting.set(&mut settings, &value)?;
        }
    }
    session.set_settings(settings);
    Ok(())
}
