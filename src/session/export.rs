//! A session as something else: lines to type again, JSON for programs, one page to look at.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::entry::{Entry, JobState};
use super::ledger::Ledger;
use crate::command::prompt_line;
use crate::gallery::metadata;

/// What a session is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One prompt line a picture.
    Script,
    /// Everything that is known.
    Json,
    /// A page with all pictures in it.
    Html,
}

impl Format {
    /// By a file's ending: `.json`, `.html`; anything else is a script.
    pub fn of(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match ending.as_str() {
            "json" => Self::Json,
            "html" | "htm" => Self::Html,
            _ => Self::Script,
        }
    }
}

/// The session as text. For a page the pictures are read from their files.
pub fn export(ledger: &Ledger, format: Format) -> String {
    match format {
        Format::Script => script(ledger),
        Format::Json => to_json(ledger),
        Format::Html => page(ledger),
    }
}

fn finished(ledger: &Ledger) -> impl Iterator<Item = &Entry> {
    ledger.entries().filter(|entry| entry.state == JobState::Finished)
}

/// The line that makes a picture again: everything that the model decided is in it, too.
fn line(entry: &Entry) -> String {
    match &entry.params {
        Some(params) => prompt_line(&metadata::tintype::request(params)),
        None => prompt_line(&entry.request),
    }
}

fn script(ledger: &Ledger) -> String {
    let mut text = format!("# session {}; make it again with: tintype < FILE\n", ledger.session);
    for entry in finished(ledger) {
        if entry.request.branch.is_some() {
            let _ = writeln!(
                text,
                "# {} went on from a step of another picture, which no line says; to make it",
                entry.id
            );
            text.push_str("# again, replay the session. Its line would be:\n# ");
        }
        text.push_str(&line(entry));
        text.push('\n');
    }
    text
}

fn to_json(ledger: &Ledger) -> String {
    let pictures: Vec<_> = ledger
        .entries()
        .map(|entry| {
            json!({
                "job": entry.id, "at": entry.at, "state": entry.state.word(), "typed": entry.typed,
                "line": line(entry), "request": entry.request, "params": entry.params, "recipe": entry.recipe,
                "parent": entry.parent, "batch": entry.batch, "name": entry.name, "rating": entry.rating,
                "note": entry.note, "deleted": entry.deleted,
            })
        })
        .collect();
    let session = json!({
        "session": ledger.session, "version": env!("CARGO_PKG_VERSION"), "settings": ledger.settings,
        "pictures": pictures,
    });
    serde_json::to_string_pretty(&session).unwrap_or_default() + "\n"
}

/// Nothing is loaded from anywhere and nothing runs: the policy says so, whatever a prompt says.
const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
body { margin: 2rem; }
h1 { font-size: 1.2rem; font-weight: 600; }
main { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); }
figure { margin: 0; }
img, .gone { width: 100%; border-radius: 4px; display: block; }
.gone { aspect-ratio: 1; display: grid; place-items: center; border: 1px dashed; opacity: .6; }
figcaption { margin-top: .5rem; overflow-wrap: anywhere; }
.facts { opacity: .7; font-size: .85em; }
code { white-space: pre-wrap; user-select: all; }
</style>
"#;

fn page(ledger: &Ledger) -> String {
    let title = escape(&format!("tintype session {}", ledger.session));
    let count = finished(ledger).count();
    let mut text = format!("{HEAD}<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n");
    let others = ledger.entries().count() - count;
    let _ = write!(text, "<p>{count} {}", if count == 1 { "picture" } else { "pictures" });
    if others > 0 {
        let _ = write!(text, "; {others} more came to nothing");
    }
    text.push_str("</p>\n<main>\n");
    finished(ledger).for_each(|entry| figure(&mut text, entry));
    text.push_str("</main>\n</body>\n</html>\n");
    text
}

fn figure(text: &mut String, entry: &Entry) {
    let prompt = escape(&entry.request.prompt);
    let path = entry.recipe.as_ref().and_then(|recipe| recipe.path.as_ref());
    text.push_str("<figure>\n");
    // The file as it is: whoever saves it from the page has its recipe, too.
    match path.and_then(|path| std::fs::read(path).ok()) {
        Some(bytes) => {
            let data = STANDARD.encode(bytes);
            let _ = writeln!(text, "<img alt=\"{prompt}\" src=\"data:image/png;base64,{data}\">");
        }
        None => text.push_str("<div class=\"gone\">the file is gone</div>\n"),
    }
    let mut head = vec![entry.id.to_string()];
    head.extend(entry.name.as_ref().map(|name| format!("@{name}")));
    head.extend(entry.rating.map(|stars| "★".repeat(stars.into())));
    let _ = writeln!(text, "<figcaption><strong>{}</strong> {prompt}", escape(&head.join(" ")));
    let mut facts: Vec<String> = entry.seed().map(|seed| format!("seed {seed}")).into_iter().collect();
    if let Some(params) = &entry.params {
        facts.push(format!("{} × {}", params.steps, params.scheduler));
        facts.push(format!("cfg {}", params.guidance_scale));
        facts.push(params.size.to_string());
        facts.push(params.model.clone());
    }
    let _ = writeln!(text, "<div class=\"facts\">{}</div>", escape(&facts.join(" · ")));
    if let Some(note) = &entry.note {
        let _ = writeln!(text, "<div>{}</div>", escape(note));
    }
    let of =
        if entry.request.branch.is_some() { "line, from the middle of another picture on" } else { "line" };
    let line = escape(&line(entry));
    let _ = writeln!(text, "<details><summary>{of}</summary><code>{line}</code></details>");
    text.push_str("</figcaption>\n</figure>\n");
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
