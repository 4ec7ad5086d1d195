//! What becomes of a profile: a table that a person reads, and a trace that a viewer draws.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::diffusion::nn::profile::{Kind, Span};
use crate::request::JobId;

/// Rows of the table; the ops that take least share one.
const ROWS: usize = 30;

/// One row: an op with its sizes.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    op: String,
    shape: String,
    calls: usize,
    took: Duration,
}

/// Ops with their shapes, those that took longest first, with their shares of all phases, a line each.
pub(super) fn table(spans: &[Span]) -> Vec<String> {
    let phases: Duration = of_kind(spans, Kind::Phase).map(|span| span.took).sum();
    let mut rows = sorted_rows(spans);
    let ops: Duration = rows.iter().map(|row| row.took).sum();
    if rows.len() > ROWS {
        let rest = rows.split_off(ROWS);
        rows.push(Row {
            op: "other ops".into(),
            shape: format!("{} shapes", rest.len()),
            calls: rest.iter().map(|row| row.calls).sum(),
            took: rest.iter().map(|row| row.took).sum(),
        });
    }
    rows.push(Row { op: "outside the ops".into(), took: phases.saturating_sub(ops), ..Row::default() });
    let width = |of: fn(&Row) -> &str, least: &str| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(least.len())
    };
    let (op, shape) = (width(|row| &row.op, "op"), width(|row| &row.shape, "shape"));
    let mut lines =
        vec![format!("{:op$}  {:shape$}  {:>6}  {:>9}  {:>6}", "op", "shape", "calls", "ms", "share")];
    lines.extend(rows.iter().map(|row| {
        let share = 100. * row.took.as_secs_f64() / phases.as_secs_f64().max(1e-9);
        let calls = if row.calls == 0 { String::new() } else { row.calls.to_string() };
        let ms = row.took.as_secs_f64() * 1e3;
        format!("{:op$}  {:shape$}  {calls:>6}  {ms:>9.1}  {share:>5.1}%", row.op, row.shape)
    }));
    let phases: Vec<String> = of_kind(spans, Kind::Phase)
        .map(|span| format!("{} {:.1} ms", span.name, span.took.as_secs_f64() * 1e3))
        .collect();
    lines.push(format!("phases: {}", phases.join(", ")));
    lines
}

/// `1 head`, not `1 heads`.
fn in_words(shape: &str) -> String {
    match shape.strip_suffix(", 1 heads") {
        Some(before) => format!("{before}, 1 head"),
        None => shape.to_owned(),
    }
}

fn of_kind(spans: &[Span], kind: Kind) -> impl Iterator<Item = &Span> {
    spans.iter().filter(move |span| span.kind == kind)
}

fn sorted_rows(spans: &[Span]) -> Vec<Row> {
    let mut rows: HashMap<(&str, &str), Row> = HashMap::new();
    for span in of_kind(spans, Kind::Op) {
        let row = rows.entry((span.name, &span.shape)).or_insert_with(|| Row {
            op: span.name.into(),
            shape: in_words(&span.shape),
            ..Row::default()
        });
        row.calls += 1;
        row.took += span.took;
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| b.took.cmp(&a.took).then_with(|| (&a.op, &a.shape).cmp(&(&b.op, &b.shape))));
    rows
}

/// A Chrome trace that is whole JSON after every job; chrome://tracing and Perfetto open it.
///
/// Format: "Trace Event Format", JSON object with `traceEvents`, complete (`X`) events, times in µs.
#[derive(Debug)]
pub struct Trace {
    file: File,
    began: Instant,
}

/// What ends the file; overwritten by what follows.
const END: &str = "\n]}\n";

impl Trace {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let process = json!({ "name": "process_name", "ph": "M", "pid": 1, "args": { "name": "tintype" } });
        let thread =
            json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": { "name": "engine" } });
        write!(file, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{process},\n{thread}{END}")?;
        Ok(Self { file, began: Instant::now() })
    }

    /// Adds a job that ran from `start` to `end`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, job: JobId, (start, end): (Instant, Instant), spans: &[Span]) -> io::Result<()> {
        let mut text = String::new();
        let mut event = |name: &str, category: &str, start: Instant, took: Duration, args: Value| {
            let (ts, dur) = (microseconds(start.saturating_duration_since(self.began)), microseconds(took));
            let event = json!({
                "name": name, "cat": category, "ph": "X", "ts": ts, "dur": dur, "pid": 1, "tid": 1, "args": args,
            });
            text.push_str(",\n");
            text.push_str(&event.to_string());
        };
        event(&format!("job {job}"), "job", start, end - start, json!({}));
        // A viewer nests by the order of the events where they begin at the same time.
        let mut order: Vec<&Span> = spans.iter().collect();
        order.sort_by(|a, b| a.start.cmp(&b.start).then(b.took.cmp(&a.took)));
        for span in order {
            match span.kind {
                Kind::Phase => event(span.name, "phase", span.start, span.took, json!({})),
                Kind::Call => event(span.name, "network", span.start, span.took, json!({})),
                Kind::Op => {
                    let args = json!({ "op": span.name, "shape": span.shape });
                    event(&format!("{} {}", span.name, span.shape), "op", span.start, span.took, args);
                }
            }
        }
        text.push_str(END);
        self.file.seek(SeekFrom::End(-(END.len() as i64)))?;
        self.file.write_all(text.as_bytes())
    }
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(kind: Kind, name: &'static str, shape: &str, start: Instant, ms: u64) -> Span {
        Span { kind, name, shape: shape.into(), start, took: Duration::from_millis(ms) }
    }

    #[test]
    fn the_table_adds_up_and_is_sorted() {
        let now = Instant::now();
        let spans = [
            span(Kind::Op, "linear", "2×3 → 4", now, 10),
            span(Kind::Op, "conv2d", "3×3 1×4×8×8 → 4", now, 50),
            span(Kind::Op, "linear", "2×3 → 4", now, 20),
            span(Kind::Call, "unet", "", now, 90),
            span(Kind::Phase, "step", "", now, 100),
        ];
        assert_eq!(
            table(&spans),
            [
                "op               shape             calls         ms   share",
                "conv2d           3×3 1×4×8×8 → 4       1       50.0   50.0%",
                "linear           2×3 → 4               2       30.0   30.0%",
                "outside the ops                                20.0   20.0%",
                "phases: step 100.0 ms",
            ]
        );
        let many: Vec<Span> =
            (0..40).map(|i| span(Kind::Op, "linear", &i.to_string(), now, 100 - i)).collect();
        let lines = table(&many);
        assert_eq!(lines.len(), 1 + ROWS + 1 + 1 + 1);
        assert!(
            lines[ROWS + 1].starts_with("other ops        10 shapes      10      655.0"),
            "{}",
            lines[ROWS + 1]
        );
    }

    #[test]
    fn one_head_is_no_heads() {
        let now = Instant::now();
        let spans = ["1×4×8 to 4, 1 heads", "1×4×8 to 4, 11 heads"]
            .map(|shape| span(Kind::Op, "attention", shape, now, 10));
        let lines = table(&spans).join("\n");
        assert!(lines.contains("to 4, 1 head ") && lines.contains("to 4, 11 heads "), "{lines}");
    }

    #[test]
    fn the_trace_is_whole_json_after_every_job() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let mut trace = Trace::create(&path).unwrap();
        let read = || serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read()["traceEvents"].as_array().unwrap().len(), 2);
        for job in 1..=2 {
            let start = Instant::now();
            let spans = [
                span(Kind::Op, "linear", "2×3 → 4", start + Duration::from_millis(1), 2),
                span(Kind::Phase, "step", "", start, 4),
            ];
            trace.append(JobId(job), (start, start + Duration::from_millis(5)), &spans).unwrap();
            let events = read()["traceEvents"].as_array().unwrap().clone();
            assert_eq!(events.len(), 2 + 3 * job as usize);
            let [.., whole, phase, op] = &events[..] else { panic!() };
            assert_eq!(whole["name"], format!("job #{job}"));
            assert_eq!((&phase["name"], &phase["dur"]), (&json!("step"), &json!(4000.)));
            assert_eq!(op["name"], "linear 2×3 → 4");
            assert_eq!(op["ts"].as_f64().unwrap().round() - phase["ts"].as_f64().unwrap().round(), 1000.);
            assert!(events[2..].iter().all(|event| event["ph"] == "X" && event["ts"].as_f64() >= Some(0.)));
        }
    }
}
