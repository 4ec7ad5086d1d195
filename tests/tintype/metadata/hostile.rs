//! Files that lie: refused or read, but never with a panic, for long, or with much memory.

use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tintype::gallery::metadata::{self, Imported, ReadProblem};

use super::{fixtures, names, resolve};

fn read(bytes: &[u8]) -> Result<Imported, ReadProblem> {
    let start = Instant::now();
    let result = metadata::read_bytes(bytes, &resolve);
    // Quadratic time would be hours; a busy machine is no failure.
    assert!(start.elapsed() < Duration::from_mins(1), "took {:?}", start.elapsed());
    result
}

/// A PNG file of these chunks; the lengths may lie.
fn png(chunks: &[(&[u8; 4], u32, &[u8])]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, length, data) in chunks {
        file.extend(length.to_be_bytes());
        file.extend(*kind);
        file.extend(*data);
        let mut crc = flate2::Crc::new();
        crc.update(*kind);
        crc.update(data);
        file.extend(crc.sum().to_be_bytes());
    }
    file
}

fn text(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    png(&[(&kind, data.len() as u32, data), (b"IEND", 0, b"")])
}

const SETTINGS: &str = "a fox\nSteps: 3, Sampler: Euler, CFG scale: 1, Seed: 5";

#[test]
fn bombs_are_not_inflated() {
    let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b'0'; 1 << 20];
    (0..64).for_each(|_| bomb.write_all(&zeros).unwrap());
    let bomb = bomb.finish().unwrap();
    for (kind, head) in [(b"zTXt", b"parameters\0\0".as_slice()), (b"iTXt", b"parameters\0\x01\0\0\0")] {
        let file = text(*kind, &[head, &bomb].concat());
        assert!(file.len() < 100_000);
        assert!(matches!(read(&file), Err(ReadProblem::Nothing)));
    }
    // What is too long is named, and the rest is read.
    let data = [b"workflow\0\0", bomb.as_slice()].concat();
    let good = [b"parameters\0", SETTINGS.as_bytes()].concat();
    let file = png(&[(b"zTXt", data.len() as u32, &data), (b"tEXt", good.len() as u32, &good)]);
    let imported = read(&file).unwrap();
    assert_eq!(imported.request.steps, Some(3));
    assert_eq!(imported.unmapped, [("workflow".to_owned(), "too long to be read".to_owned())]);
}

#[test]
fn lengths_that_lie_are_damage() {
    for length in [u32::MAX, i32::MAX as u32, 1000] {
        let file = png(&[(b"tEXt", length, b"parameters\0x")]);
        assert!(matches!(read(&file), Err(ReadProblem::Damaged(_))), "{length}");
    }
    let mut file = text(*b"tEXt", b"parameters\0x");
    file[20] ^= 1;
    assert!(matches!(read(&file), Err(ReadProblem::Damaged(_))), "checksum");
    // A segment cannot be shorter than its own length; a TIFF offset may point anywhere.
    assert!(matches!(read(b"\xff\xd8\xff\xe1\0\x01"), Err(ReadProblem::Damaged(_))));
    let mut tiff =
        b"\xff\xd8\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\xff\xff\xff\xff"
            .to_vec();
    tiff.extend(b"\0\0\0\0\0\0\xff\xd9");
    assert!(read(&tiff).is_err());
}

#[test]
fn text_that_is_no_utf8_is_read_as_far_as_it_goes() {
    let latin1 = [b"parameters\0caf\xe9".as_slice(), &SETTINGS.as_bytes()[5..]].concat();
    assert_eq!(read(&text(*b"tEXt", &latin1)).unwrap().request.prompt, "café");
    let broken = [b"parameters\0\0\0\0\0a \xff\xfe fox".as_slice(), &SETTINGS.as_bytes()[5..]].concat();
    assert_eq!(read(&text(*b"iTXt", &broken)).unwrap().request.prompt, "a \u{fffd}\u{fffd} fox");
}

#[test]
fn deep_json_and_cyclic_graphs_end() {
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for keyword in ["prompt", "workflow", "invokeai_metadata", "sd-metadata", "tintype", "mold:parameters"] {
        let data = [keyword.as_bytes(), b"\0", deep.as_bytes()].concat();
        assert!(matches!(read(&text(*b"tEXt", &data)), Err(ReadProblem::Broken { .. })), "{keyword}");
    }
    let cycle = r#"prompt {"1":{"class_type":"KSampler","inputs":{"seed":["2",0],"steps":5,"sampler_name":"euler",
        "positive":["3",0],"negative":["3",1],"model":["4",0],"latent_image":["1",0]}},
        "2":{"class_type":"Int","inputs":{"value":["2",0]}},
        "3":{"class_type":"Combine","inputs":{"conditioning_1":["3",0],"conditioning_2":["3",1],"text":["3",0]}},
        "4":{"class_type":"Lora","inputs":{"model":["4",0]}},
        "5":{"class_type":"SaveImage","inputs":{"images":["5",0],"again":["1",0]}}}"#;
    let imported = read(&text(*b"tEXt", cycle.replacen(' ', "\0", 1).as_bytes())).unwrap();
    assert_eq!((imported.source, imported.request.steps), ("ComfyUI", Some(5)));
}

/// Inputs that make a careless reader take quadratic time.
#[test]
fn long_texts_take_linear_time() {
    let long = 2_000_000;
    let nodes: Vec<String> = (0..12_000)
        .map(|i| {
            let next = (i + 1) % 12_000;
            format!(
                r#""{i}":{{"class_type":"SaveKSampler","inputs":{{"images":["{next}",0],"seed":["{next}",0],
                "positive":["{next}",0],"latent_image":["{next}",0]}}}}"#
            )
        })
        .collect();
    for (keyword, body) in [
        ("parameters", "a".repeat(long)),
        ("parameters", "a1:\"b, ".repeat(long / 7)),
        ("parameters", "\"\\".repeat(long / 2)),
        ("parameters", format!("Steps: 1, aa: 1, bb: 2, {}", "aa ".repeat(long / 3))),
        ("parameters", "Negative prompt:\n".repeat(long / 17)),
        ("Dream", "[".repeat(long)),
        ("Dream", "[] -s ".repeat(long / 6)),
        ("prompt", format!("{{{}}}", nodes.join(","))),
        ("XML:com.adobe.xmp", "<exif:UserComment>".repeat(long / 18)),
        ("XML:com.adobe.xmp", format!("<exif:UserComment>{}</exif:UserComment>", "&".repeat(long - 50))),
        ("prompt", format!("{{\"a\": {}", "NaN: ".repeat(long / 5))),
    ] {
        let data = [keyword.as_bytes(), b"\0\0\0\0\0", body.as_bytes()].concat();
        let _ = read(&text(*b"iTXt", &data));
    }
}

/// The entry point of `fuzz/fuzz_targets/metadata.rs`, over the fixtures with bytes changed, taken out and put in.
mod mutations {
    use super::*;

    static FILES: LazyLock<Vec<Vec<u8>>> =
        LazyLock::new(|| names().iter().map(|name| std::fs::read(fixtures().join(name)).unwrap()).collect());

    /// Makes checksums right again, so that a changed text is read and not refused.
    fn repair(file: &mut [u8]) {
        let mut at = 8;
        while let Some(head) = file.get(at..at + 8) {
            let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let Some(data) = file.get(at + 4..at + 8 + length) else { return };
            let mut crc = flate2::Crc::new();
            crc.update(data);
            let Some(stored) = file.get_mut(at + 8 + length..at + 12 + length) else { return };
            stored.copy_from_slice(&crc.sum().to_be_bytes());
            at += 12 + length;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_panics(
            which in 0_usize..1000,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..12),
            repaired in any::<bool>(),
        ) {
            let mut file = FILES[which % FILES.len()].clone();
            for (at, byte, kind) in changes {
                if file.is_empty() {
                    break;
                }
                let at = at.index(file.len());
                match kind {
                    0 => file[at] = byte,
                    1 => file[at] ^= 1 << (byte % 8),
                    2 => file.insert(at, byte),
                    _ => drop(file.drain(at..(at + usize::from(byte)).min(file.len()))),
                }
            }
            if repaired {
                repair(&mut file);
            }
            if let Ok(imported) = read(&file) {
                // Whatever a file says, what comes of it could have been typed, but for an empty prompt.
                let mut request = imported.request;
                request.prompt = "x".into();
                prop_assert_eq!(tintype::session::settings::validate(&request), Ok(()));
            }
        }
    }
}
