//! Models from the Hub and from the Python cache, against a server that this test starts itself.

mod fake_hub;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use fake_hub::{FakeHub, MODEL, git_oid, sha256};
use tempfile::TempDir;
use tintype::checkpoint::{Blob, Checkpoint};
use tintype::paths::HubAccess;
use tintype::store::{self, Progress, ResolveOptions, StoreError};

const INDEX: &str = r#"{
  "_class_name": "StableDiffusionPipeline",
  "scheduler": ["diffusers", "PNDMScheduler"], "tokenizer": ["transformers", "CLIPTokenizer"],
  "text_encoder": ["transformers", "CLIPTextModel"], "unet": ["diffusers", "UNet2DConditionModel"],
  "vae": ["diffusers", "AutoencoderKL"], "image_encoder": [null, null],
  "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
  "feature_extractor": ["transformers", "CLIPImageProcessor"]
}"#;

const SETTINGS: [&str; 6] = [
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "unet/config.json",
    "vae/config.json",
];

const PLAIN: [&str; 3] = [
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
];

const HALF: [&str; 3] = [
    "text_encoder/model.fp16.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
];

const NOT_NEEDED: [&str; 5] = [
    "README.md",
    "v1-5-pruned-emaonly.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "safety_checker/model.safetensors",
    "feature_extractor/preprocessor_config.json",
];

/// Bytes that look like nothing and differ from file to file; the UNet has 300 kB, the others 20 kB.
fn weights(path: &str) -> Vec<u8> {
    let size = if path.starts_with("unet/") { 300_000 } else { 20_000 };
    let mut state = path.bytes().fold(1_u64, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(size)
    .collect()
}

/// A repository with these weights beside its settings and everything that real ones have too.
fn files<'a>(weight_files: &[&'a str]) -> Vec<(&'a str, Vec<u8>)> {
    let mut files: Vec<(&str, Vec<u8>)> =
        SETTINGS.iter().chain(&NOT_NEEDED).map(|path| (*path, path.as_bytes().to_vec())).collect();
    files.extend(weight_files.iter().map(|path| (*path, weights(path))));
    files.push(("model_index.json", INDEX.into()));
    files
}

struct Fixture {
    hub: FakeHub,
    cache: TempDir,
}

impl Fixture {
    fn new(weight_files: &[&str]) -> Self {
        Self { hub: FakeHub::start(&files(weight_files)), cache: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> ResolveOptions {
        ResolveOptions {
            revision: None,
            variant: None,
            prefer_half: false,
            offline: false,
            hub: HubAccess {
                cache: self.cache.path().into(),
                endpoint: self.hub.endpoint.clone(),
                token: None,
                offline: false,
            },
        }
    }

    fn commit(&self) -> String {
        self.hub.state().commit.clone()
    }

    fn repo(&self) -> std::path::PathBuf {
        self.cache.path().join("models--ada--pocket-sd")
    }

    /// Checks that every file of the model is the server's, to the byte.
    fn assert_whole(&self, checkpoint: &Checkpoint) {
        let snapshot = self.repo().join("snapshots").join(self.commit());
        for blob in checkpoint.files.values().chain(checkpoint.weights.values().flatten()) {
            let Blob::File(path) = blob else { panic!("not a file") };
            let name = path.strip_prefix(&snapshot).unwrap().to_str().unwrap();
            assert!(std::fs::read(path).unwrap() == self.hub.state().files[name], "{name} differs");
        }
    }
}

fn resolve(options: &ResolveOptions) -> Result<Checkpoint, StoreError> {
    store::resolve(Some(MODEL), options, &mut |_| ControlFlow::Continue(()))
}

fn error(options: &ResolveOptions) -> String {
    let text = resolve(options).unwrap_err().to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    text
}

/// Names of everything in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The chosen weight files' names.
fn chosen(checkpoint: &Checkpoint) -> Vec<String> {
    let name = |blob: &Blob| match blob {
        Blob::File(path) => path.file_name().unwrap().to_str().unwrap().to_owned(),
        Blob::Static(_) => panic!("not a file"),
    };
    checkpoint.weights.values().flatten().map(name).collect()
}

#[test]
fn a_download_fetches_what_is_needed_and_leaves_a_python_cache() {
    let fixture = Fixture::new(&[&PLAIN[..], &HALF[..]].concat());
    // Two names, one content, as the tokenizers of SDXL have it.
    fixture.hub.state().files.insert("vae/config.json".into(), b"unet/config.json".to_vec());
    let mut told = Vec::new();
    let checkpoint = store::resolve(Some(MODEL), &fixture.options(), &mut |progress| {
        if let Progress::Downloading { done, total, .. } = progress {
            told.push((done, total));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    fixture.assert_whole(&checkpoint);
    assert_eq!(checkpoint.name, MODEL);
    assert_eq!(checkpoint.revision, Some(fixture.commit()));

    let expected: Vec<&str> = std::iter::once("model_index.json").chain(SETTINGS).collect();
    assert_eq!(checkpoint.files.keys().collect::<Vec<_>>(), expected);
    let blobs: BTreeSet<String> = expected
        .iter()
        .map(|path| git_oid(&fixture.hub.state().files[*path]))
        .chain(PLAIN.map(|path| sha256(&weights(path))))
        .collect();
    assert_eq!(names(&fixture.repo().join("blobs")), blobs);
    let link = fixture.repo().join("snapshots").join(fixture.commit()).join(PLAIN[1]);
    let target = format!("../../../blobs/{}", sha256(&weights(PLAIN[1])));
    assert_eq!(std::fs::read_link(link).unwrap(), Path::new(&target));
    assert_eq!(std::fs::read_to_string(fixture.repo().join("refs/main")).unwrap(), fixture.commit());

    let (done, total) = *told.last().unwrap();
    assert_eq!(done, total);
    assert!(total > 340_000, "{total}");
    assert!(told.is_sorted_by_key(|(done, total)| (*total, *done)), "{told:?}");

    // The second time, nobody is asked.
    fixture.hub.log();
    let again = resolve(&fixture.options()).unwrap();
    assert_eq!(again, checkpoint);
    let offline = ResolveOptions { offline: true, ..fixture.options() };
    assert_eq!(resolve(&offline).unwrap(), checkpoint);
    assert_eq!(fixture.hub.log(), [""; 0]);
}

#[test]
fn a_variant_is_downloaded_alone() {
    let fixture = Fixture::new(&[&PLAIN[..], &HALF[..]].concat());
    let half = ResolveOptions { prefer_half: true, ..fixture.options() };
    let checkpoint = resolve(&half).unwrap();
    fixture.assert_whole(&checkpoint);
    assert_eq!(checkpoint.variant.as_deref(), Some("fp16"));
    assert_eq!(fixture.hub.contents_sent().len(), 3);
    // What is there is good enough for a run in full precision; only a wish for the other variant is not fulfilled.
    assert_eq!(resolve(&fixture.options()).unwrap(), checkpoint);
    let asked = ResolveOptions { variant: Some("fp16".into()), ..fixture.options() };
    assert_eq!(resolve(&asked).unwrap(), checkpoint);
    assert_eq!(fixture.hub.log(), [""; 0]);

    let asked = ResolveOptions { variant: Some("bf16".into()), ..fixture.options() };
    let text = error(&asked);
    assert!(text.ends_with("has no variant bf16: type --variant fp16, or leave it out"), "{text}");
    assert_eq!(fixture.hub.contents_sent(), [""; 0]);
}

#[test]
fn a_cached_variant_does_not_stand_for_another_that_is_asked_for() {
    let fixture = Fixture::new(&[&PLAIN[..], &HALF[..]].concat());
    resolve(&fixture.options()).unwrap();
    let asked = ResolveOptions { variant: Some("fp16".into()), ..fixture.options() };
    let offline = ResolveOptions { offline: true, ..asked.clone() };
    let text = error(&offline);
    assert!(text.contains("(its variant fp16 is not there) and tintype is offline"), "{text}");
    fixture.hub.log();
    assert_eq!(resolve(&asked).unwrap().variant.as_deref(), Some("fp16"));
    assert_eq!(fixture.hub.contents_sent().len(), 3);
}

#[test]
fn shards_are_downloaded_by_their_index() {
    let shards = [
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "diffusion_pytorch_model-00002-of-00002.safetensors",
    ];
    let paths = shards.map(|shard| format!("unet/{shard}"));
    let fixture = Fixture::new(&[PLAIN[0], PLAIN[2], &paths[0], &paths[1]]);
    let index = serde_json::json!({"weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}});
    let index_path = "unet/diffusion_pytorch_model.safetensors.index.json";
    fixture.hub.state().files.insert(index_path.into(), index.to_string().into_bytes());
    let checkpoint = resolve(&fixture.options()).unwrap();
    fixture.assert_whole(&checkpoint);
    assert_eq!(chosen(&checkpoint)[1..3], shards);
    // Found again without the network, index included.
    let offline = ResolveOptions { offline: true, ..fixture.options() };
    assert_eq!(resolve(&offline).unwrap(), checkpoint);
}

#[test]
fn what_python_downloaded_is_found_and_not_fetched_again() {
    let fixture = Fixture::new(&PLAIN);
    let commit = "d".repeat(40);
    for (path, content) in files(&HALF) {
        let blob = fixture.repo().join("blobs").join(sha256(&content));
        std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
        std::fs::write(&blob, &content).unwrap();
        let link = fixture.repo().join("snapshots").join(&commit).join(path);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&blob, link).unwrap();
    }
    for (name, content) in [("main", &commit), ("refs/pr/1", &commit)] {
        let path = fixture.repo().join("refs").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let revisions = [None, Some("main"), Some("refs/pr/1"), Some(commit.as_str()), Some("ddddddd")];
    for revision in revisions {
        let options = ResolveOptions { revision: revision.map(str::to_owned), ..fixture.options() };
        let checkpoint = resolve(&options).unwrap();
        assert_eq!(checkpoint.revision.as_deref(), Some(commit.as_str()), "{revision:?}");
        assert_eq!(checkpoint.variant.as_deref(), Some("fp16"));
    }
    assert_eq!(fixture.hub.log(), [""; 0]);

    let [model] = &store::list_cached_in(fixture.cache.path())[..] else { panic!("not one model") };
    assert_eq!((model.name.as_str(), &model.revision), (MODEL, &commit));
    assert_eq!(model.class.as_deref(), Some("StableDiffusionPipeline"));
    assert_eq!((model.variant.as_deref(), &model.problem), (Some("fp16"), &None));
    assert!(model.refs.contains(&"main".to_owned()) && model.refs.contains(&"refs/pr/1".to_owned()));
    assert!(model.bytes > 340_000);

    // A blob that somebody deleted leaves a link that leads nowhere.
    std::fs::remove_file(fixture.repo().join("blobs").join(sha256(&weights(HALF[2])))).unwrap();
    let offline = ResolveOptions { offline: true, ..fixture.options() };
    let text = error(&offline);
    assert!(text.contains("(it has no safetensors in vae/ there) and tintype is offline"), "{text}");
    assert!(store::list_cached_in(fixture.cache.path())[0].problem.is_some());
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().cut = Some((15_000, 4));
    let checkpoint = resolve(&fixture.options()).unwrap();
    fixture.assert_whole(&checkpoint);
    let sent = fixture.hub.contents_sent();
    assert!(sent.iter().any(|line| line.ends_with("bytes=15000-299999")), "{sent:?}");
}

#[test]
fn what_a_broken_download_leaves_never_looks_complete() {
    let fixture = Fixture::new(&PLAIN);
    // The text encoder (20 kB) arrives, then every connection ends before the first new byte.
    fixture.hub.state().cut = Some((100_000, 2));
    let stop_after = |hub: &FakeHub| hub.state().cut = Some((0, usize::MAX));
    let mut seen = 0;
    let error = store::resolve(Some(MODEL), &fixture.options(), &mut |progress| {
        if let Progress::Downloading { done, .. } = progress
            && done > 90_000
            && seen == 0
        {
            seen = done;
            stop_after(&fixture.hub);
        }
        ControlFlow::Continue(())
    })
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "the download of unet/diffusion_pytorch_model.safetensors broke off at 100.0 kB of 300.0 kB"
        ),
        "{text}"
    );
    assert!(text.ends_with("type it again to take it up there"), "{text}");

    let sha = sha256(&weights(PLAIN[1]));
    assert!(!names(&fixture.repo().join("blobs")).contains(&sha));
    assert!(!fixture.repo().join("snapshots").join(fixture.commit()).join(PLAIN[1]).exists());
    assert!(!fixture.repo().join("refs").exists());
    let offline = ResolveOptions { offline: true, ..fixture.options() };
    assert!(matches!(resolve(&offline), Err(StoreError::Offline { .. })));
    let whole = ResolveOptions { revision: Some(fixture.commit()), ..offline };
    assert!(matches!(resolve(&whole), Err(StoreError::Offline { .. })));

    fixture.hub.state().cut = None;
    fixture.hub.log();
    let checkpoint = resolve(&fixture.options()).unwrap();
    fixture.assert_whole(&checkpoint);
    let sent = fixture.hub.contents_sent();
    assert_eq!(sent[0], format!("GET /cdn/{sha} bytes=100000-299999"));
    assert_eq!(sent.len(), 2, "the text encoder was there: {sent:?}");
}

#[test]
fn a_mirror_without_ranges_sends_it_all_again() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().cut = Some((15_000, 1));
    fixture.hub.state().no_ranges = true;
    let checkpoint = resolve(&fixture.options()).unwrap();
    fixture.assert_whole(&checkpoint);
}

#[test]
fn wrong_bytes_are_never_kept() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().corrupt = true;
    let text = error(&fixture.options());
    assert!(text.contains("what came has the wrong checksum"), "{text}");
    let sha = sha256(&weights(PLAIN[0]));
    assert!(names(&fixture.repo().join("blobs")).iter().all(|name| *name != sha));
    fixture.hub.state().corrupt = false;
    fixture.assert_whole(&resolve(&fixture.options()).unwrap());
}

#[test]
fn an_error_page_is_not_taken_for_a_file() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().refuse_content = Some(500);
    let text = error(&fixture.options());
    assert!(text.contains("it answers 500"), "{text}");
    let left = names(&fixture.repo().join("blobs"));
    assert!(left.iter().all(|name| name.ends_with(".incomplete")), "{left:?}");
}

#[test]
fn a_download_can_be_cancelled_while_nothing_arrives() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().stall = true;
    let mut quiet = None;
    let start = Instant::now();
    let result = store::resolve(Some(MODEL), &fixture.options(), &mut |progress| {
        let Progress::Downloading { file, done, .. } = progress else { return ControlFlow::Continue(()) };
        // Stalls one byte before the end of the text encoder.
        if file == PLAIN[0] && done >= 19_999 {
            let since = *quiet.get_or_insert_with(Instant::now);
            if since.elapsed() > Duration::from_millis(300) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(StoreError::Cancelled)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    fixture.hub.state().stall = false;
    fixture.assert_whole(&resolve(&fixture.options()).unwrap());
}

#[test]
fn a_slow_download_tells_its_rate() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().pause = Duration::from_millis(40);
    let mut rates = Vec::new();
    store::resolve(Some(MODEL), &fixture.options(), &mut |progress| {
        if let Progress::Downloading { file, bytes_per_second, .. } = progress
            && file == PLAIN[1]
        {
            rates.push(bytes_per_second);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(rates.len() > 4, "{rates:?}");
    // 16 kB every 40 ms are 410 kB/s; a busy machine is slower, none is faster than twice that.
    let last = rates[rates.len() - 1];
    assert!((10e3..900e3).contains(&last), "{rates:?}");
}

#[test]
fn refusals_say_what_to_type() {
    let fixture = Fixture::new(&PLAIN);
    let endpoint = fixture.hub.endpoint.clone();
    let with_token = |token: &str| {
        let options = fixture.options();
        ResolveOptions { hub: HubAccess { token: Some(token.into()), ..options.hub.clone() }, ..options }
    };
    let check = |refuse, options: &ResolveOptions, expected: &str| {
        fixture.hub.state().refuse = Some(refuse);
        let text = error(options);
        assert!(text.contains(expected), "{refuse:?}: {text}");
    };
    let open = fixture.options();
    check(
        (401, "GatedRepo"),
        &open,
        &format!("is gated: accept its licence at {endpoint}/{MODEL}, then set HF_TOKEN"),
    );
    check((401, ""), &open, "check the name, or set HF_TOKEN if it is private");
    check((401, ""), &with_token("t"), "refuses your token for ada/pocket-sd");
    check((403, "GatedRepo"), &with_token("t"), &format!("accept its licence at {endpoint}/{MODEL}"));
    check((404, "RepoNotFound"), &open, &format!("has no model {MODEL}: look for it at {endpoint}/models"));
    check((429, ""), &open, "is asked too often: wait 0 s, or set HF_TOKEN");
    check((503, ""), &open, "(it answers 503): type it again later, or set HF_ENDPOINT to a mirror");

    fixture.hub.state().refuse = None;
    let missing = ResolveOptions { revision: Some("v9".into()), ..fixture.options() };
    let text = error(&missing);
    assert!(text.contains("has no revision v9: leave --revision out"), "{text}");
    let error = store::resolve(Some("stabilityai/sdturbo"), &open, &mut |_| ControlFlow::Continue(()));
    let text = error.unwrap_err().to_string();
    assert!(text.contains("has no model stabilityai/sdturbo (did you mean stabilityai/sd-turbo?)"), "{text}");
    for name in ["a--b/c", "a/b..c", "what is this"] {
        let error = store::resolve(Some(name), &open, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, StoreError::BadName { .. }), "{error}");
    }
}

#[test]
fn a_token_opens_a_gated_model() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().token = Some("hf_secret");
    assert!(matches!(resolve(&fixture.options()), Err(StoreError::Gated { .. })));
    let mut options = fixture.options();
    options.hub.token = Some("hf_secret".into());
    fixture.assert_whole(&resolve(&options).unwrap());
}

#[test]
fn offline_asks_nobody_and_says_where_it_looked() {
    let fixture = Fixture::new(&PLAIN);
    let mut by_variable = fixture.options();
    by_variable.hub.offline = true;
    for options in [ResolveOptions { offline: true, ..fixture.options() }, by_variable] {
        let text = error(&options);
        let place = fixture.cache.path().display().to_string();
        assert!(
            text.starts_with(&format!(
                "{MODEL} is not in {place} (it is not there) and tintype is offline: "
            )),
            "{text}"
        );
    }
    assert_eq!(fixture.hub.log(), [""; 0]);
}

#[test]
fn an_unreachable_hub_is_one_line_soon() {
    let fixture = Fixture::new(&PLAIN);
    let mut options = fixture.options();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    options.hub.endpoint = format!("http://127.0.0.1:{port}");
    let start = Instant::now();
    let text = error(&options);
    assert!(
        text.contains(&format!("and http://127.0.0.1:{port} cannot be reached (Connection refused")),
        "{text}"
    );
    assert!(text.contains("set HF_ENDPOINT to a mirror, or name a local folder"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn pickles_on_the_hub_are_not_even_downloaded() {
    let fixture = Fixture::new(&[PLAIN[0], PLAIN[2]]);
    let text = error(&fixture.options());
    assert!(text.starts_with("unet/diffusion_pytorch_model.bin of ada/pocket-sd is a pickle"), "{text}");
    assert_eq!(fixture.hub.contents_sent(), [""; 0]);
}

#[test]
fn a_branch_is_remembered_and_shares_blobs_with_the_next_commit() {
    let fixture = Fixture::new(&PLAIN);
    let branch = ResolveOptions { revision: Some("refs/pr/1".into()), ..fixture.options() };
    let first = resolve(&branch).unwrap();
    assert_eq!(std::fs::read_to_string(fixture.repo().join("refs/refs/pr/1")).unwrap(), fixture.commit());
    {
        let mut state = fixture.hub.state();
        state.commit = "e".repeat(40);
        state.files.insert(PLAIN[2].into(), weights("another vae"));
    }
    assert_eq!(resolve(&branch).unwrap(), first, "a cached branch is not asked for again");
    fixture.hub.log();
    let second = resolve(&fixture.options()).unwrap();
    fixture.assert_whole(&second);
    assert_eq!(fixture.hub.contents_sent().len(), 1, "only the VAE is new");
    assert_eq!(store::list_cached_in(fixture.cache.path()).len(), 2);
}

#[test]
fn two_at_once_download_once() {
    let fixture = Fixture::new(&PLAIN);
    fixture.hub.state().pause = Duration::from_millis(5);
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| resolve(&fixture.options()).unwrap()));
        for thread in both {
            fixture.assert_whole(&thread.join().unwrap());
        }
    });
    assert_eq!(fixture.hub.contents_sent().len(), 3);
}

#[test]
fn names_that_lead_out_of_the_cache_are_ignored() {
    let fixture = Fixture::new(&PLAIN);
    for path in ["unet/../../../../escaped.json", "/escaped.json"] {
        fixture.hub.state().files.insert(path.into(), b"{}".to_vec());
    }
    let checkpoint = resolve(&fixture.options()).unwrap();
    assert!(checkpoint.files.keys().all(|path| !path.contains("escaped")));
}
