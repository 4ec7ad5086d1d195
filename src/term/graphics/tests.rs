use std::num::NonZeroU16;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::request::ImageSize;
use crate::term::probe::{Answers, Brand, ColorChoice, ColorDepth, Environment, Window};
use crate::term::{FrameOptions, FullScreen};

fn capabilities(protocol: Protocol) -> Capabilities {
    let environment = Environment::from_lookup(|name| (name == "COLORTERM").then(|| "truecolor".into()));
    let capabilities = Capabilities::new(
        &Answers::default(),
        &environment,
        Window::default(),
        ColorChoice::Auto,
        Some(protocol),
    );
    Capabilities { cell_size: Size::new(8, 16), ..capabilities }
}

fn picture(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Picture {
    let pixel = &pixel;
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
    Picture { size: ImageSize::new(width, height), rgb }
}

/// Pixels without any order: what no encoding makes smaller.
fn noise(width: u32, height: u32) -> Picture {
    let state = std::cell::Cell::new(1_u32);
    let next = || {
        state.set(state.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        (state.get() >> 24) as u8
    };
    picture(width, height, |_, _| [next(), next(), next()])
}

fn printed(capabilities: &Capabilities, picture: &Picture, cells: Size) -> String {
    let mut out = Vec::new();
    new_protocol(capabilities).print_inline(picture, cells, &mut out).expect("encodes");
    String::from_utf8(out).expect("text")
}

fn overlay(capabilities: &Capabilities, picture: &Picture, cells: Size) -> Vec<u8> {
    let mut out = Vec::new();
    new_protocol(capabilities).overlay(3, picture, cells, &mut out).expect("encodes");
    out
}

#[test]
fn names_are_unique_and_parse() {
    for row in GRAPHICS_PROTOCOLS {
        assert_eq!(row.name.parse::<Protocol>().ok(), Some(row.protocol));
        assert_eq!(row.protocol.name(), row.name);
    }
    let error = "ascii".parse::<Protocol>().expect_err("unknown").to_string();
    assert!(GRAPHICS_PROTOCOLS.iter().all(|row| error.contains(row.name)), "{error}");
}

#[test]
fn every_protocol_ends_below_its_picture_in_column_0() {
    let size = |n| NonZeroU16::new(n).expect("a size");
    for row in GRAPHICS_PROTOCOLS {
        let mut screen = vt100::Parser::new(size(20), size(40), 0);
        screen.process(b"above\r\n");
        screen.process(printed(&capabilities(row.protocol), &noise(16, 16), Size::new(6, 3)).as_bytes());
        let rows = if row.protocol == Protocol::None { 1 } else { 3 };
        assert_eq!(screen.screen().cursor_position(), (1 + rows, 0), "{}", row.name);
    }
}

#[test]
fn every_protocol_refuses_a_picture_that_is_too_short() {
    let broken = Picture { size: ImageSize::new(10, 10), rgb: vec![0; 10].into() };
    for row in GRAPHICS_PROTOCOLS {
        let mut out = Vec::new();
        let result =
            new_protocol(&capabilities(row.protocol)).print_inline(&broken, Size::new(2, 2), &mut out);
        assert!(result.is_err(), "{}", row.name);
    }
}

#[test]
fn a_preview_takes_at_most_20_kilobytes_whatever_it_shows() {
    let latents = noise(64, 64);
    for row in GRAPHICS_PROTOCOLS {
        for cells in [Size::new(10, 5), Size::new(60, 30)] {
            let bytes = overlay(&capabilities(row.protocol), &latents, cells).len();
            assert!(bytes <= 20_000, "{} takes {bytes} bytes for {cells}", row.name);
        }
    }
}

#[test]
fn kitty_sends_pixels_as_they_are() {
    let text =
        printed(&capabilities(Protocol::Kitty), &picture(2, 1, |x, _| [x as u8, 2, 3]), Size::new(4, 2));
    assert_eq!(
        text,
        "\r\n\r\n\x1b[2A\x1b7\x1b_Ga=T,C=1,c=4,r=2,f=24,s=2,v=1,q=2,m=0;AAIDAQID\x1b\\\x1b8\x1b[2B\r"
    );
}

#[test]
fn kitty_sends_at_most_4096_characters_at_a_time() {
    let picture = noise(40, 40);
    let text =
        String::from_utf8(overlay(&capabilities(Protocol::Kitty), &picture, Size::new(4, 2))).expect("text");
    let commands: Vec<&str> = text.split("\x1b\\").filter(|part| !part.is_empty()).collect();
    let (first, last) = (commands[0], commands[commands.len() - 1]);
    let id = 1_u32 << 31 | (std::process::id() & 0x7fff) << 16 | 3;
    assert!(
        first.starts_with(&format!("\x1b_Ga=T,C=1,i={id},p=1,c=4,r=2,f=24,s=40,v=40,q=2,m=1;")),
        "{first}"
    );
    assert!(last.starts_with("\x1b_Gq=2,m=0;") && commands.len() == 2);
    let payload: String =
        commands.iter().filter_map(|command| command.split_once(';')).map(|(_, data)| data).collect();
    assert!(
        commands.iter().all(|command| command.split_once(';').is_some_and(|(_, data)| data.len() <= 4096))
    );
    assert_eq!(STANDARD.decode(payload).expect("base64"), picture.rgb[..]);
}

#[test]
fn kitty_files_have_the_name_that_kitty_deletes() {
    let capabilities = Capabilities { reads_files: true, ..capabilities(Protocol::Kitty) };
    let picture = noise(30, 20);
    let text = printed(&capabilities, &picture, Size::new(4, 2));
    let (keys, rest) = text.split_once(';').expect("a payload");
    assert!(keys.ends_with("\x1b_Ga=T,C=1,c=4,r=2,f=24,t=t,s=30,v=20,q=2,m=0"), "{keys:?}");
    let path = STANDARD.decode(rest.split('\x1b').next().expect("base64")).expect("base64");
    let path = std::path::PathBuf::from(String::from_utf8(path).expect("a path"));
    assert!(
        path.starts_with(std::env::temp_dir()) && path.to_string_lossy().contains("tty-graphics-protocol")
    );
    assert_eq!(std::fs::read(&path).expect("the file"), picture.rgb[..]);
    std::fs::remove_file(path).expect("removed");
}

#[test]
fn placeholders_pass_through_tmux_one_command_at_a_time() {
    let capabilities = Capabilities { tmux: true, ..capabilities(Protocol::Placeholder) };
    let text = String::from_utf8(overlay(&capabilities, &noise(40, 40), Size::new(4, 2))).expect("text");
    let parts: Vec<&str> = text.split("\x1bPtmux;").skip(1).collect();
    assert_eq!(parts.len(), 2);
    for part in parts {
        assert!(part.starts_with("\x1b\x1b_G") && part.ends_with("\x1b\x1b\\\x1b\\"), "{part:?}");
    }
    let bare = Capabilities { tmux: false, ..capabilities };
    assert!(overlay(&bare, &noise(4, 4), Size::new(4, 2)).starts_with(b"\x1b_Ga=T,U=1,"));
}

#[test]
fn iterm2_gets_one_sequence_or_parts() {
    let small = picture(2, 1, |x, _| [x as u8, 2, 3]);
    let one = printed(&capabilities(Protocol::ITerm2), &small, Size::new(4, 2));
    let head = "\r\n\r\n\x1b[2A\x1b7\x1b]1337;File=inline=1;size=";
    let keys = ";width=4;height=2;preserveAspectRatio=0;doNotMoveCursor=1:iVBORw0KGgo";
    assert!(one.starts_with(head) && one.contains(keys) && one.ends_with("\x07\x1b8\x1b[2B\r"), "{one:?}");

    let modern = Capabilities {
        brand: Brand::ITerm2,
        version: Some("iTerm2 3.5.10".into()),
        ..capabilities(Protocol::ITerm2)
    };
    let large = noise(600, 600);
    let parts = printed(&modern, &large, Size::new(4, 2));
    assert!(
        parts.matches("]1337;MultipartFile=").count() == 1 && parts.matches("]1337;FileEnd\x07").count() == 1
    );
    let data: String =
        parts.split("]1337;FilePart=").skip(1).filter_map(|part| part.split('\x07').next()).collect();
    let decoded = image::load_from_memory(&STANDARD.decode(data).expect("base64")).expect("a PNG").to_rgb8();
    assert_eq!(decoded.as_raw()[..], large.rgb[..]);
    // one that does not know parts gets a smaller picture instead
    let old = printed(&Capabilities { version: None, ..modern.clone() }, &large, Size::new(4, 2));
    assert!(old.matches("]1337;").count() == 1 && old.len() < 1 << 20);

    let tmux = printed(&Capabilities { tmux: true, ..modern }, &small, Size::new(4, 2));
    assert!(tmux.contains("\x1bPtmux;\x1b\x1b]1337;MultipartFile=") && tmux.contains("FileEnd\x07\x1b\\"));
}

#[test]
fn sixels_are_exact_for_few_colours() {
    let checks = picture(32, 30, |x, y| if (x / 8 + y / 6) % 2 == 0 { [255, 0, 255] } else { [0, 51, 102] });
    let text = printed(&capabilities(Protocol::Sixel), &checks, Size::new(4, 2));
    let sixels =
        text.trim_start_matches("\r\n").trim_start_matches("\x1b[2A\x1b7").trim_end_matches("\x1b8\x1b[2B\r");
    let decoded = icy_sixel::SixelImage::decode(sixels.as_bytes()).expect("sixels");
    // two rows of 16 pixels hold five bands of six
    assert_eq!((decoded.width, decoded.height), (32, 30));
    let pixels: Vec<u8> =
        decoded.pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    assert_eq!(pixels, checks.rgb[..]);
}

#[test]
fn half_blocks_byte_for_byte() {
    let picture = picture(2, 2, |x, y| [x as u8, y as u8, 9]);
    let text = printed(&capabilities(Protocol::HalfBlocks), &picture, Size::new(2, 1));
    assert_eq!(text, "\x1b[0;38;2;0;0;9;48;2;0;1;9m▀\x1b[0;38;2;1;0;9;48;2;1;1;9m▀\x1b[0m\r\n");
    let indexed = Capabilities { color: ColorDepth::Indexed, ..capabilities(Protocol::HalfBlocks) };
    assert_eq!(printed(&indexed, &picture, Size::new(2, 1)), "\x1b[0;38;5;16;48;5;16m▀▀\x1b[0m\r\n");
    let colourless = Capabilities { color: ColorDepth::None, ..indexed };
    assert_eq!(printed(&colourless, &picture, Size::new(2, 1)), "[picture 2×2, mean colour #010109]\r\n");
}

#[test]
fn pictures_keep_their_shape() {
    let cell = Size::new(10, 20);
    let fits = |width, height, limit| fit(ImageSize::new(width, height), limit, cell);
    assert_eq!(fits(512, 512, Size::new(80, 16)), Size::new(32, 16));
    assert_eq!(fits(512, 512, Size::new(10, 40)), Size::new(10, 5));
    assert_eq!(fits(1024, 512, Size::new(80, 16)), Size::new(64, 16));
    assert_eq!(fits(64, 2048, Size::new(80, 16)), Size::new(1, 16));
    assert_eq!(fits(4000, 1, Size::new(80, 16)), Size::new(80, 1));
    assert_eq!(fits(0, 0, Size::new(0, 0)), Size::new(1, 1));
}

#[test]
fn the_canvas_writes_only_what_changed() {
    let frame = Rect::new(0, 0, 40, 10);
    let picture = noise(4, 4);
    let (left, right) = (Rect::new(0, 0, 4, 2), Rect::new(10, 0, 4, 2));
    let steps: &[(&[(Slot, Rect, u64)], usize, usize, &str)] = &[
        (&[(1, left, 1), (2, right, 1)], 2, 0, "both are new"),
        (&[(1, left, 1), (2, right, 1)], 0, 0, "nothing changed"),
        (&[(1, left, 2), (2, right, 1)], 1, 0, "another version is drawn over the old"),
        (&[(1, right, 2)], 1, 2, "one moved, one is gone"),
        (&[(1, Rect::new(38, 0, 4, 2), 2)], 0, 1, "does not fit any more"),
        (&[(1, Rect::ZERO, 2)], 0, 0, "nothing to see"),
    ];
    let mut kitty = Canvas::new(&capabilities(Protocol::Kitty));
    let mut iterm2 = Canvas::new(&capabilities(Protocol::ITerm2));
    for (wanted, drawn, gone, why) in steps {
        let mut pictures = Pictures::default();
        for &(slot, area, version) in *wanted {
            pictures.put(slot, area, &picture, version);
        }
        let overlays = kitty.update(&pictures, frame).expect("encodes");
        let text: Vec<_> = overlays.iter().map(|overlay| String::from_utf8_lossy(&overlay.bytes)).collect();
        let count = |what| text.iter().filter(|text| text.contains(what)).count();
        assert_eq!((count("a=T"), count("a=d")), (*drawn, *gone), "{why}");

        let mut buffer = Buffer::empty(frame);
        iterm2.render(&pictures, &mut buffer);
        let anew = |cell: &&ratatui::buffer::Cell| cell.diff_option == CellDiffOption::AlwaysUpdate;
        assert_eq!(buffer.content.iter().filter(anew).count(), gone * 8, "{why}");
        assert_eq!(iterm2.update(&pictures, frame).expect("encodes").len(), *drawn, "{why}");
    }
    kitty.forget();
    let mut pictures = Pictures::default();
    pictures.put(1, left, &picture, 2);
    assert_eq!(kitty.update(&pictures, frame).expect("encodes").len(), 1, "forgotten, so drawn again");
    assert!(kitty.deletion().starts_with(b"\x1b_Ga=d,d=I,i="));
}

#[test]
fn half_blocks_keep_their_budget_where_bytes_are_dear() {
    for (ssh, limit) in [(false, 80_000), (true, PREVIEW_BUDGET as u64)] {
        let mut canvas = Canvas::new(&Capabilities { ssh, ..capabilities(Protocol::HalfBlocks) });
        let mut screen =
            FullScreen::new(Vec::new(), Size::new(60, 30), FrameOptions::default()).expect("a screen");
        let picture = noise(64, 64);
        screen
            .draw(&mut canvas, |frame, pictures| pictures.put(0, frame.area(), &picture, 1))
            .expect("a frame");
        let bytes = screen.traffic().bytes;
        assert!((limit / 2..=limit).contains(&bytes), "ssh {ssh}: {bytes} bytes");
    }
}
