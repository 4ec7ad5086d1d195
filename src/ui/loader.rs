//! Reads pictures from disk on a thread of its own, one at a time, so that the gallery never stops the keys.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::gallery::Want;
use super::painter::thumbnail;
use crate::request::{ImageSize, Picture};

/// The largest file that is decoded, in pixels: a hostile header must not eat the memory.
const MAX_PIXELS: u64 = 64 << 20;

/// The thread, and what it has read.
pub struct Loader {
    wants: Option<Sender<Want>>,
    loaded: Receiver<(Want, Option<Picture>)>,
    pending: Option<Want>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts the thread; `wake` is called after each picture.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (wants, queue) = channel::<Want>();
        let (sender, loaded) = channel();
        let thread = std::thread::Builder::new().name("loader".into()).spawn(move || {
            for want in queue {
                let picture = read(&want.path, want.side);
                if sender.send((want, picture)).is_err() {
                    return;
                }
                wake();
            }
        })?;
        Ok(Self { wants: Some(wants), loaded, pending: None, thread: Some(thread) })
    }

    /// Asks for a picture, unless one is being read: what is wanted then is better known afterwards.
    pub fn ask(&mut self, want: Option<Want>) {
        if self.pending.is_some() {
            return;
        }
        if let (Some(want), Some(wants)) = (want, &self.wants) {
            self.pending = Some(want.clone());
            let _ = wants.send(want);
        }
    }

    /// A picture that was read meanwhile, or `None` in its place if it cannot be.
    pub fn take(&mut self) -> Option<(Want, Option<Picture>)> {
        let done = self.loaded.try_recv().ok()?;
        self.pending = None;
        Some(done)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.wants = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A picture file, at most `side` pixels large in either direction.
fn read(path: &Path, side: u32) -> Option<Picture> {
    let mut reader = image::ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    let rgb = reader.decode().ok()?.into_rgb8();
    let size = ImageSize::new(rgb.width(), rgb.height());
    Some(thumbnail(&Picture { size, rgb: rgb.into_raw().into() }, side))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reads_scales_and_says_when_it_cannot() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.png");
        image::RgbImage::from_pixel(40, 20, image::Rgb([1, 2, 3])).save(&path).expect("a file");
        std::fs::write(folder.path().join("b.png"), "no picture").expect("a file");
        let (wake, woken) = channel();
        let mut loader = Loader::start(move || {
            let _ = wake.send(());
        })
        .expect("a thread");
        let mut load = |name: &str| {
            loader.ask(Some(Want { path: folder.path().join(name), side: 10 }));
            loader.ask(Some(Want { path: "/none".into(), side: 10 }));
            woken.recv_timeout(Duration::from_secs(10)).expect("it wakes");
            loader.take().expect("it is there").1
        };
        let picture = load("a.png").expect("it loads");
        assert_eq!((picture.size, &picture.rgb[..3]), (ImageSize::new(10, 5), &[1, 2, 3][..]));
        assert_eq!(load("b.png"), None);
        assert_eq!(load("c.png"), None);
    }
}
