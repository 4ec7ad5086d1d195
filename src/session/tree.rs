//! The iteration tree, drawn: which picture was made from which.

use super::entry::{Entry, JobState};
use super::ledger::Ledger;
use crate::request::JobId;

/// The tree, a line a picture; the current one has a `●`.
///
/// ```text
/// ○ #1 a dog
/// ├─○ #2 a fox
/// │ └─● #4 a fox, rain
/// └─○ #3 a dog [cancelled]
/// ```
pub fn draw(ledger: &Ledger) -> Vec<String> {
    let mut lines = Vec::new();
    let known = |id: JobId| ledger.entry(id).is_some();
    let roots = ledger.entries().filter(|entry| !entry.parent.is_some_and(known));
    // A stack rather than recursion: a chain of a thousand small changes is a deep tree.
    let mut stack: Vec<(&Entry, String, &str)> = roots.map(|root| (root, String::new(), "")).collect();
    stack.reverse();
    while let Some((entry, indent, branch)) = stack.pop() {
        lines.push(format!("{indent}{branch}{}", label(ledger, entry)));
        let below = match branch {
            "├─" => format!("{indent}│ "),
            "└─" => format!("{indent}  "),
            _ => indent,
        };
        let children: Vec<_> = ledger.children(entry.id).collect();
        let last = children.len().saturating_sub(1);
        for (at, child) in children.into_iter().enumerate().rev() {
            stack.push((child, below.clone(), if at == last { "└─" } else { "├─" }));
        }
    }
    lines
}

fn label(ledger: &Ledger, entry: &Entry) -> String {
    let current = ledger.current().is_some_and(|current| current.id == entry.id);
    let mut label = format!("{} {} {}", if current { '●' } else { '○' }, entry.id, entry.request.prompt);
    if let Some(batch) = entry.batch.and_then(|first| ledger.batch(first)) {
        label.push_str(&format!(" · {}", batch.label(entry.id)));
    }
    if let Some(name) = &entry.name {
        label.push_str(&format!(" @{name}"));
    }
    if let Some(stars) = entry.rating {
        label.push(' ');
        label.extend(std::iter::repeat_n('★', stars.into()));
    }
    if entry.state != JobState::Finished {
        label.push_str(&format!(" [{}]", entry.state.word()));
    }
    label
}
