//! `--profile` and `/profile` on the embedded model: what the trace holds and what the table says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const PICTURE: &[&str] = &["a red circle", "-S", "7", "-s", "3", "64x64", "--device", "cpu", "--json"];

fn tintype(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    command.env("TINTYPE_HOME", home).env("HF_HUB_OFFLINE", "1").env_remove("HF_HOME").current_dir(home);
    command.stdin(Stdio::null());
    command
}

fn generate(home: &Path, more: &[&str]) -> Output {
    tintype(home).arg("generate").args(PICTURE).args(more).output().unwrap()
}

/// Begin and end of a complete event, in µs.
fn extent(event: &Value) -> (f64, f64) {
    let (ts, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
    assert!(ts >= 0. && dur >= 0., "{event}");
    (ts, ts + dur)
}

fn encloses(outer: &Value, inner: &Value) -> bool {
    let ((from, to), (start, end)) = (extent(outer), extent(inner));
    // times are rounded to a nanosecond
    from <= start + 1e-2 && end <= to + 1e-2
}

#[test]
fn a_trace_nests_ops_in_calls_in_phases_and_changes_no_picture() {
    let home = tempfile::tempdir().unwrap();
    let output = generate(home.path(), &["--profile", "trace.json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace: Value =
        serde_json::from_slice(&std::fs::read(home.path().join("trace.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |category: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["ph"] == "X" && event["cat"] == category).collect()
    };
    let (jobs, phases, calls, ops) = (of("job"), of("phase"), of("network"), of("op"));
    assert_eq!(jobs.len(), 1);
    let names: Vec<_> = phases.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["load", "encode", "step", "decode", "save"]);
    assert!(phases.iter().all(|phase| encloses(jobs[0], phase)));

    let unet: Vec<_> = calls.iter().filter(|call| call["name"] == "unet").collect();
    assert_eq!(unet.len(), 3, "guidance is one batch of two");
    let step = phases.iter().find(|phase| phase["name"] == "step").unwrap();
    let within = |call: &Value| -> Vec<&str> {
        let inside = ops.iter().filter(|op| encloses(call, op));
        inside.map(|op| op["name"].as_str().unwrap()).collect()
    };
    let first = within(unet[0]);
    for call in &unet {
        assert!(encloses(step, call));
        assert_eq!(within(call), first, "every call does the same");
    }
    assert!(first.contains(&"conv2d 3×3 2×4×16×16 → 64"), "{first:?}");
    let kinds: BTreeSet<_> = ops.iter().map(|op| op["args"]["op"].as_str().unwrap()).collect();
    for kind in ["conv2d", "group_norm + silu", "layer_norm", "linear", "linear + geglu", "attention"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    // Ops do not overlap: they are what the table adds up.
    let mut extents: Vec<_> = ops.iter().map(|op| extent(op)).collect();
    extents.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(extents.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-2));

    let hash = |output: &Output| -> Value {
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["pixels_sha256"].clone()
    };
    assert_eq!(hash(&output), hash(&generate(home.path(), &[])));
}

#[test]
fn a_trace_that_cannot_be_written_is_found_before_the_picture() {
    let home = tempfile::tempdir().unwrap();
    let output = generate(home.path(), &["--profile", "no/such/folder/trace.json"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--profile no/such/folder/trace.json"), "{said}");
}

#[test]
fn the_table_of_the_last_job_is_shown_once_it_was_recorded() {
    let home = tempfile::tempdir().unwrap();
    let mut child = tintype(home.path())
        .args(["--device", "cpu"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = "a fox -s 1 64x64\n/profile\n/profile\na fox -s 2 64x64\n/profile\n/profile off\n";
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("jobs are recorded from now on").count(), 1, "{said}");
    assert_eq!(said.matches("no job was recorded yet").count(), 1, "{said}");
    let mut table = said.lines().skip_while(|line| !line.starts_with("op "));
    assert!(table.next().unwrap().ends_with("share"));
    let rows: Vec<_> = table.by_ref().take_while(|line| !line.starts_with("phases: ")).collect();
    let shares: Vec<f64> = rows
        .iter()
        .map(|row| row.split_whitespace().last().unwrap().trim_end_matches('%').parse().unwrap())
        .collect();
    assert!((shares.iter().sum::<f64>() - 100.).abs() < 3., "{said}");
    let sorted = &shares[..shares.len() - 2];
    assert!(sorted.windows(2).all(|pair| pair[0] >= pair[1]), "{said}");
    assert!(rows.last().unwrap().starts_with("outside the ops"), "{said}");
    assert!(said.contains("jobs are no longer recorded"), "{said}");
}
