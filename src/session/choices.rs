//! Choices within a prompt: `{red|blue}`, `{2$$a|b|c}`, `{~red|blue}`, `__colour__`.
//!
//! The syntax is that of the dynamic prompts of the web UIs. A choice stands for every one of its options, one
//! after another; with a `~`, for one of them, drawn by the picture's seed. Wildcards are files with an option a
//! line. A brace that is no choice, and one after a backslash, is a brace.

use std::path::PathBuf;

/// Most prompts that one line may stand for.
pub const MOST: usize = 10_000;
/// Choices within choices and files within files.
const DEEPEST: usize = 16;

/// Why a prompt's choices make no sense.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// A brace is open.
    #[error("`{0}` is not closed; type }} after its last option, or \\{{ for a plain brace")]
    Unclosed(String),
    /// More options are to be taken than there are.
    #[error("`{0}` takes more options than it has; type fewer before the $$")]
    TooFew(String),
    /// The file is not there.
    #[error("there is no wildcard file {name}.txt in {}; put the options in it, one a line", folder.display())]
    NoFile {
        /// The wildcard's name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The file cannot be read, or holds no option.
    #[error("the wildcard file {} {why}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Too many prompts.
    #[error(
        "the choices of this line make more than {MOST} prompts; take some out, or draw them with {{~a|b}}"
    )]
    TooMany,
    /// A file that names itself, or braces beyond measure.
    #[error("`{0}` lies too deep in other choices; does a wildcard file name itself?")]
    TooDeep(String),
}

/// Where wildcard files are.
#[derive(Clone, Debug, Default)]
pub struct Wildcards {
    /// The folder of `colour.txt`, which `__colour__` stands for; folders within it are `__animals/birds__`.
    pub folder: PathBuf,
}

impl Wildcards {
    fn lines(&self, name: &str) -> Result<Vec<String>, ChoiceError> {
        let path = self.folder.join(format!("{name}.txt"));
        let bad = |why: String| ChoiceError::BadFile { path: path.clone(), why };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ChoiceError::NoFile { name: name.to_owned(), folder: self.folder.clone() });
            }
            Err(error) => return Err(bad(format!("cannot be read: {error}"))),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines: Vec<_> = lines.map(str::to_owned).collect();
        if lines.is_empty() { Err(bad("holds no option; write one a line".into())) } else { Ok(lines) }
    }
}

/// A choice at the top of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// As typed.
    pub source: String,
    /// Everything that it stands for, drawn choices still in it.
    pub values: Vec<String>,
}

/// A prompt with the places where its choices go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// One more than there are groups.
    texts: Vec<String>,
    /// The choices in order.
    pub groups: Vec<Group>,
}

impl Template {
    /// Reads a prompt.
    ///
    /// # Errors
    /// When its choices make no sense.
    pub fn parse(prompt: &str, wildcards: &Wildcards) -> Result<Self, ChoiceError> {
        let mut template = Self { texts: vec![String::new()], groups: Vec::new() };
        for piece in scan(prompt)? {
            match piece {
                Piece::Group { random: false, source, .. } => {
                    let values = all(source, wildcards, 0)?;
                    template.groups.push(Group { source: source.to_owned(), values });
                    template.texts.push(String::new());
                }
                piece => template.texts.last_mut().into_iter().for_each(|text| text.push_str(piece.source())),
            }
        }
        Ok(template)
    }

    /// The prompt with one value of each group, by position; [`settle`] makes it final.
    pub fn fill(&self, picks: &[usize]) -> String {
        let mut prompt = self.texts[0].clone();
        for ((group, pick), text) in self.groups.iter().zip(picks).zip(&self.texts[1..]) {
            prompt.push_str(group.values.get(*pick).map_or("", String::as_str));
            prompt.push_str(text);
        }
        prompt
    }
}

/// Draws what is to be drawn and takes the backslashes off braces. The same seed draws the same.
///
/// # Errors
/// When a choice makes no sense.
pub fn settle(prompt: &str, wildcards: &Wildcards, seed: u64) -> Result<String, ChoiceError> {
    draw(prompt, wildcards, &mut Draw(seed), 0).map(|text| unescape(&text))
}

fn draw(prompt: &str, wildcards: &Wildcards, dice: &mut Draw, depth: usize) -> Result<String, ChoiceError> {
    let mut settled = String::new();
    for piece in scan(prompt)? {
        match piece {
            Piece::Text(text) => settled.push_str(text),
            Piece::Group { source, body, wildcard, .. } => {
                let options = options(source, body, wildcard, wildcards, depth)?;
                let option = &options[dice.below(options.len())];
                settled.push_str(&draw(option, wildcards, dice, depth + 1)?);
            }
        }
    }
    Ok(settled)
}

/// SplitMix64 (Steele, Lea and Flood, 2014): all that is wanted of it is that neighbouring seeds differ.
struct Draw(u64);

impl Draw {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count.max(1) as u64) as usize
    }
}

enum Piece<'a> {
    Text(&'a str),
    Group {
        /// As typed.
        source: &'a str,
        /// What is between the braces or underscores, without the `~`.
        body: &'a str,
        wildcard: bool,
        random: bool,
    },
}

impl<'a> Piece<'a> {
    fn source(&self) -> &'a str {
        match self {
            Self::Text(source) | Self::Group { source, .. } => source,
        }
    }
}

/// Cuts a prompt into plain text and choices.
fn scan(prompt: &str) -> Result<Vec<Piece<'_>>, ChoiceError> {
    let mut pieces = Vec::new();
    let (mut plain, mut at) = (0, 0);
    while let Some(c) = prompt[at..].chars().next() {
        let rest = &prompt[at..];
        let group = match c {
            '\\' => {
                at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                continue;
            }
            '{' => braces(rest)?,
            '_' => underscores(rest),
            _ => None,
        };
        let Some(group) = group else {
            at += c.len_utf8();
            continue;
        };
        if plain < at {
            pieces.push(Piece::Text(&prompt[plain..at]));
        }
        at += group.source().len();
        plain = at;
        pieces.push(group);
    }
    if plain < prompt.len() {
        pieces.push(Piece::Text(&prompt[plain..]));
    }
    Ok(pieces)
}

/// The choice in braces that `text` begins with; braces without options are braces.
fn braces(text: &str) -> Result<Option<Piece<'_>>, ChoiceError> {
    let bars = bars(text);
    let Some(end) = bars.close else {
        let looks_like_one = !bars.at.is_empty();
        return if looks_like_one { Err(ChoiceError::Unclosed(text.to_owned())) } else { Ok(None) };
    };
    let body = &text[1..end];
    let (random, body) = body.strip_prefix('~').map_or((false, body), |body| (true, body));
    let choice = !bars.at.is_empty() || body.contains("$$");
    Ok(choice.then_some(Piece::Group { source: &text[..=end], body, wildcard: false, random }))
}

fn underscores(text: &str) -> Option<Piece<'_>> {
    let inner = text.strip_prefix("__")?;
    let end = inner.find("__")?;
    let body = &inner[..end];
    let (random, name) = body.strip_prefix('~').map_or((false, body), |name| (true, name));
    // No dots: a name leads to no other folder.
    let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | ' ');
    let inside = !name.starts_with('/') && name.chars().all(good) && !name.trim().is_empty();
    inside.then_some(Piece::Group { source: &text[..end + 4], body: name, wildcard: true, random })
}

struct Bars {
    /// Positions of the `|` of the outermost braces.
    at: Vec<usize>,
    /// Position of their `}`.
    close: Option<usize>,
}

fn bars(text: &str) -> Bars {
    let mut bars = Bars { at: Vec::new(), close: None };
    let mut depth = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth -= 1,
            '|' if depth == 1 => bars.at.push(at),
            _ => {}
        }
        if depth == 0 {
            bars.close = Some(at);
            break;
        }
    }
    bars
}

/// Everything that a text stands for; choices to be drawn stay in it.
fn all(text: &str, wildcards: &Wildcards, depth: usize) -> Result<Vec<String>, ChoiceError> {
    let mut texts = vec![String::new()];
    for piece in scan(text)? {
        match piece {
            Piece::Group { random: false, source, body, wildcard } => {
                let mut values = Vec::new();
                for option in options(source, body, wildcard, wildcards, depth)? {
                    values.extend(all(&option, wildcards, depth + 1)?);
                    limit(values.len())?;
                }
                limit(texts.len().saturating_mul(values.len()))?;
                texts =
                    texts.iter().flat_map(|text| values.iter().map(move |v| format!("{text}{v}"))).collect();
            }
            piece => texts.iter_mut().for_each(|text| text.push_str(piece.source())),
        }
    }
    Ok(texts)
}

fn limit(count: usize) -> Result<(), ChoiceError> {
    if count > MOST { Err(ChoiceError::TooMany) } else { Ok(()) }
}

/// The options of one choice, not looked into.
fn options(
    source: &str,
    body: &str,
    wildcard: bool,
    wildcards: &Wildcards,
    depth: usize,
) -> Result<Vec<String>, ChoiceError> {
    if depth > DEEPEST {
        return Err(ChoiceError::TooDeep(source.to_owned()));
    }
    if wildcard {
        return wildcards.lines(body);
    }
    let (picks, separator, body) = picks(body);
    let options = split(body);
    if picks == (1, 1) {
        return Ok(options.into_iter().map(str::to_owned).collect());
    }
    if picks.1 > options.len() || picks.0 > picks.1 || picks.1 == 0 {
        return Err(ChoiceError::TooFew(source.to_owned()));
    }
    let mut sets = Vec::new();
    for count in picks.0..=picks.1 {
        subsets(&options, count, separator, &mut sets)?;
    }
    Ok(sets)
}

/// How many options to take, and what goes between them: `2$$…`, `1-3$$…`, `2$$ and $$…`.
fn picks(body: &str) -> ((usize, usize), &str, &str) {
    let one = ((1, 1), ", ", body);
    let Some((count, rest)) = body.split_once("$$") else { return one };
    let parsed = match count.split_once('-') {
        Some((low, high)) => low.trim().parse().ok().zip(high.trim().parse().ok()),
        None => count.trim().parse().ok().map(|n| (n, n)),
    };
    let Some(range) = parsed else { return one };
    match rest.split_once("$$") {
        Some((separator, options)) => (range, separator, options),
        None => (range, ", ", rest),
    }
}

/// Cuts at the `|` that are not within inner braces.
fn split(body: &str) -> Vec<&str> {
    let mut options = Vec::new();
    let (mut depth, mut escaped, mut start) = (0, false, 0);
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth -= 1,
            '|' if depth == 0 => {
                options.push(body[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    options.push(body[start..].trim());
    options
}

/// All sets of `count` options, in their order, each one joined.
fn subsets(
    options: &[&str],
    count: usize,
    separator: &str,
    sets: &mut Vec<String>,
) -> Result<(), ChoiceError> {
    let mut chosen: Vec<usize> = (0..count).collect();
    loop {
        sets.push(chosen.iter().map(|i| options[*i]).collect::<Vec<_>>().join(separator));
        limit(sets.len())?;
        // The last position that can still move to the right.
        let Some(at) = (0..count).rev().find(|at| chosen[*at] < options.len() - count + at) else {
            return Ok(());
        };
        chosen[at] += 1;
        for next in at + 1..count {
            chosen[next] = chosen[next - 1] + 1;
        }
    }
}

/// A prompt without choices, as [`settle`] makes them, in a form that [`settle`] leaves as it is.
pub fn escape(prompt: &str) -> String {
    prompt.replace('{', "\\{").replace('}', "\\}").replace("__", "\\__")
}

/// `\{`, `\}`, `\|` and `\_` are plain; every other backslash is left for the weights.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('{' | '}' | '|' | '_')) => plain.extend(chars.next()),
            ('\\', Some('\\')) => {
                plain.push_str("\\\\");
                chars.next();
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(prompt: &str) -> Result<Vec<String>, String> {
        all(prompt, &Wildcards::default(), 0).map_err(|error| error.to_string())
    }

    #[test]
    fn choices_stand_for_every_option() {
        assert_eq!(expand("a {red|blue} fox").unwrap(), ["a red fox", "a blue fox"]);
        assert_eq!(expand("{a|b} {1|2}").unwrap(), ["a 1", "a 2", "b 1", "b 2"]);
        assert_eq!(expand("{2$$a|b|c}").unwrap(), ["a, b", "a, c", "b, c"]);
        assert_eq!(expand("{1-2$$a|b}").unwrap(), ["a", "b", "a, b"]);
        assert_eq!(expand("{2$$ and $$a|b}").unwrap(), ["a and b"]);
        assert_eq!(expand("a {red|{dark|light} blue} fox").unwrap().len(), 3);
        assert_eq!(expand("{red|}fox").unwrap(), ["redfox", "fox"]);
    }

    #[test]
    fn what_is_no_choice_stays() {
        for plain in ["a fox", "{fox}", "{fox", "a } fox", "__init", "____", "\\{a|b\\}", "a\\"] {
            assert_eq!(expand(plain).unwrap(), [plain], "{plain}");
        }
        let settled = settle("\\{a|b\\} \\(x\\) \\\\{", &Wildcards::default(), 0).unwrap();
        assert_eq!(settled, "{a|b} \\(x\\) \\\\{");
        for prompt in [&settled, "__init__", "a {b|c} __d__", "_ ___ \\\\"] {
            assert_eq!(settle(&escape(prompt), &Wildcards::default(), 0).unwrap(), *prompt);
        }
    }

    #[test]
    fn nonsense_is_told() {
        assert!(expand("{red|blue fox").unwrap_err().contains("not closed"));
        assert!(expand("{3$$a|b}").unwrap_err().contains("more options"));
        assert!(expand("{2-1$$a|b}").unwrap_err().contains("more options"));
        assert!(expand(&"{a|b}".repeat(20)).unwrap_err().contains("more than 10000"));
        assert!(expand("__nowhere__").unwrap_err().contains("no wildcard file nowhere.txt"));
        assert_eq!(expand("__../etc__").unwrap(), ["__../etc__"], "a name leads nowhere else");
    }

    #[test]
    fn drawn_choices_follow_the_seed() {
        let draw =
            |seed| settle("a {~red|blue|{~dark|light} green} fox", &Wildcards::default(), seed).unwrap();
        assert_eq!(draw(7), draw(7));
        let drawn: std::collections::BTreeSet<_> = (0..64).map(draw).collect();
        assert_eq!(drawn.len(), 4, "{drawn:?}");
        let template = Template::parse("a {~red|blue} {big|small} fox", &Wildcards::default()).unwrap();
        assert_eq!(template.groups.len(), 1);
        assert_eq!(template.fill(&[1]), "a {~red|blue} small fox");
    }

    #[test]
    fn wildcards_are_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("colour.txt"), "# colours\nred\n\n{light|dark} blue\n").unwrap();
        std::fs::write(folder.path().join("self.txt"), "__self__\n").unwrap();
        std::fs::write(folder.path().join("empty.txt"), "# none\n").unwrap();
        let wildcards = Wildcards { folder: folder.path().to_owned() };
        let template = Template::parse("a __colour__ fox", &wildcards).unwrap();
        assert_eq!(template.groups[0].values, ["red", "light blue", "dark blue"]);
        assert_eq!(template.fill(&[2]), "a dark blue fox");
        assert!(matches!(Template::parse("__self__", &wildcards), Err(ChoiceError::TooDeep(_))));
        assert!(matches!(Template::parse("__empty__", &wildcards), Err(ChoiceError::BadFile { .. })));
    }
}
