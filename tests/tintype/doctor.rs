//! `tintype doctor` on this machine's CPU.

use std::process::Command;

#[test]
fn the_doctor_finds_the_cpu_well() {
    let output = Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(["--device", "cpu", "--json", "doctor"])
        .env("TINTYPE_OUTPUT_DIR", "/somewhere/else")
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"], serde_json::json!([]), "{report:#}");
    assert!(output.status.success());
    assert!(report["ops"].as_array().unwrap().len() >= 13);
    assert!(
        report["slicing"].as_array().unwrap().iter().all(|way| way["peak_memory"].as_u64() > Some(1 << 20))
    );
    assert_eq!(report["device"], "cpu in f32");
    let facts = report["facts"].as_array().unwrap();
    let fact = |name: &str| facts.iter().find(|fact| fact[0] == name).and_then(|fact| fact[1].as_str());
    assert_eq!(fact("pictures"), Some("/somewhere/else"), "the folder that the configuration names");
    assert!(fact("settings").is_some_and(|file| file.ends_with("config.toml")));
}

#[test]
fn half_precision_is_compared_with_the_cpu_in_f32() {
    let output = Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(["--device", "cpu", "--dtype", "f16", "doctor"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("off from the CPU's by") && text.contains("all is well"), "{text}");
}
