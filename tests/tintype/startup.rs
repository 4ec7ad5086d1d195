//! How long the program takes to be there. The limit is several times what was measured (`docs/benchmarks.md`), since
//! tests share the machine; `scripts/startup.sh` measures.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Several tries, the fastest of which counts: a busy machine delays some.
fn fastest(tries: u32, run: impl Fn()) -> Duration {
    let times = (0..tries).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

#[test]
fn an_empty_pipe_begins_and_ends_at_once_without_a_model() {
    let home = tempfile::tempdir().unwrap();
    let took = fastest(5, || {
        let status = Command::new(env!("CARGO_BIN_EXE_tintype"))
            .env("TINTYPE_HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    });
    assert!(took < Duration::from_millis(500), "{took:?}");
}

/// Only with the feature `cuda`: elsewhere there is nothing to leave out.
#[test]
#[cfg(all(feature = "cuda", target_os = "linux"))]
fn the_system_loader_is_asked_for_none_of_nvidias_libraries() {
    let listed =
        Command::new(env!("CARGO_BIN_EXE_tintype")).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.contains("libc.so"), "{listed}");
    assert!(
        !["libcuda", "libcublas", "libcurand", "libnvrtc"].iter().any(|name| listed.contains(name)),
        "{listed}"
    );
}
