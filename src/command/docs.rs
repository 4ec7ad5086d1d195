//! `docs/commands.md`, made from the tables.

use super::switches;
use super::table::{COMMANDS, Group};
use crate::session::filter::FIELDS;

/// The page.
pub fn commands_md() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Switches\n\n| switch | meaning |\n|---|---|\n");
    for (forms, help) in switches::help() {
        page.push_str(&format!("| `{forms}` | {} |\n", cell(help)));
    }
    page.push_str(SWEEPS);
    page.push_str("\n## Commands\n");
    for group in Group::ALL {
        page.push_str(&format!("\n### {}\n\n| command | meaning |\n|---|---|\n", group.title()));
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            let aliases: Vec<_> = command.aliases.iter().map(|alias| format!("`/{alias}`")).collect();
            let also =
                if aliases.is_empty() { String::new() } else { format!(" Also {}.", aliases.join(", ")) };
            let details: String = command.details.iter().map(|line| format!(" {}", cell(line))).collect();
            page.push_str(&format!(
                "| `{}` | {}.{details}{also} |\n",
                cell(&command.usage()),
                cell(command.help)
            ));
        }
    }
    page.push_str("\nThe name of a setting is a command, too: `/steps 30` is `/set steps 30`, `/cfg` shows the guidance.\n");
    page.push_str("\n## Filters\n\nFor `/history` and the gallery. ");
    page.push_str("Plain words are looked for in the prompt, the line as typed, the note and the name; ");
    page.push_str("a `-` before a term turns it round; numbers compare with `:` `=` `<` `<=` `>` `>=`.\n\n");
    page.push_str("| term | meaning |\n|---|---|\n");
    for (field, help) in FIELDS {
        page.push_str(&format!("| `{field}:` | {} |\n", cell(help)));
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const INTRODUCTION: &str = r#"# The prompt: switches and commands

<!-- Made from the tables in src/session/settings.rs and src/command; `cargo test write_commands_md -- --ignored` writes it anew. -->

A line is a prompt and, after it, switches; `tintype generate` takes the same.

    a red fox in the snow -s 20 -C 7 -S 42 -n "blurry, ugly" 768x512

- The prompt ends where the first switch begins: one or two dashes and a letter. A dash before a space or a digit is a dash (`a well-known fox - close up, at -5 degrees`), and so is one between double quotes. A prompt that begins with a double quote ends at the next one.
- A word that looks like a switch and is none is an error, never a part of the prompt.
- `-n 4` makes four pictures and `-n blurry` is a negative prompt; `-g 7.5` is the guidance and a bare `-g` makes a contact sheet. Both meanings have long names.
- `-n ""` is an empty negative prompt, which is not none: as in diffusers, SDXL encodes the one and takes zeros for the other. tintype's own metadata and sessions keep the two apart; A1111's text cannot and has none for both. `/set n ""`, and an empty one in the configuration, mean none.
- A bare size such as `768x512` at the end is `--size 768x512`.
- `$` is the current picture, `$12` the twelfth of the session, `$-2` the one before the current one, `$@name` a named one: wherever a picture is wanted (`--image $12`, `/rerun $5 -s 40`).
- Lines that begin with `#` or `//` are comments, and so is what follows a `#` among the switches.

A line that changes the current picture makes a new one from it with the same seed:

| line | makes |
|---|---|
| `+ rain` | the prompt with `, rain` added |
| `- hat` | the prompt without `hat` |
| `s/dog/fox/` | the prompt with the first `dog` replaced; with a `g` at the end, every one |
| `-C 6`, `-s 40 768x512` | the same prompt with other values |
"#;

const SWEEPS: &str = r"
A number, seed, size, scheduler or model may be a list (`--cfg 5,7,9`), a number or seed a range (`--seed 1..4`, `--steps 10..30:10`). A prompt may hold choices:

| choice | stands for |
|---|---|
| `{red\|blue}` | each of its options, one after another |
| `{2$$a\|b\|c}`, `{1-2$$ and $$a\|b}` | each set of two of them; of one or two, joined by ` and ` |
| `{~red\|blue}`, `__~colour__` | one of its options, drawn by the seed |
| `__colour__` | each line of `wildcards/colour.txt` in the configuration folder |

Several of these make every combination, on a contact sheet unless `--grid=off` is given. `\{` is a plain brace.
";
