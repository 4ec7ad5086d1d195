//! What takes longer than a frame: done on a thread of its own, and what it came to is shown when it is back.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::run::Ui;
use crate::term::Waker;

/// What the run loop does when an errand is back.
pub(super) type Done = Box<dyn FnOnce(&mut Ui) -> io::Result<()> + Send>;

/// The errands that are out, and the way back.
pub(super) struct Errands {
    sender: Sender<Done>,
    back: Receiver<Done>,
    waker: Waker,
}

impl Errands {
    pub(super) fn new(waker: Waker) -> Self {
        let (sender, back) = channel();
        Self { sender, back, waker }
    }

    /// Has `work` done elsewhere. Nobody waits for it when the program ends.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn send(&self, name: &str, work: impl FnOnce() -> Done + Send + 'static) -> io::Result<()> {
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        std::thread::Builder::new().name(name.into()).spawn(move || {
            if sender.send(work()).is_ok() {
                waker.wake();
            }
        })?;
        Ok(())
    }

    /// The next one that is back.
    pub(super) fn take(&self) -> Option<Done> {
        self.back.try_recv().ok()
    }
}

impl Ui {
    /// Shows what came of errands.
    pub(super) fn take_errands(&mut self) -> io::Result<()> {
        while let Some(done) = self.errands.take() {
            done(self)?;
            self.redraw_soon();
        }
        Ok(())
    }

    /// Looks at terminal, device and caches; the device's test takes seconds.
    pub(super) fn doctor(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.examining, true) {
            return self.remark("the doctor is still at it");
        }
        self.remark("testing the device; this takes some seconds")?;
        let (doctor, terminal) = (self.services.doctor.clone(), self.terminal.capabilities().clone());
        self.errands.send("doctor", move || {
            let lines = doctor(&terminal);
            Box::new(move |ui| {
                ui.examining = false;
                ui.say(lines.iter().map(|line| super::views::result::plain(line)).collect())
            })
        })
    }

    /// Has the prompt's tokens counted as the session's model reads them. A model that is not here yet is looked for
    /// again with the next line.
    pub(super) fn count_as_the_model_does(&mut self) {
        let settings = self.session.settings();
        let model = (settings.model.clone(), settings.revision.clone(), settings.variant.clone());
        if self.counting_for.as_ref() == Some(&model) {
            return;
        }
        self.counting_for = Some(model.clone());
        let (tokenizer, settings) = (self.services.tokenizer.clone(), settings.clone());
        let sent = self.errands.send("tokenizer", move || {
            let counter = tokenizer(&settings);
            Box::new(move |ui| {
                // another model may have been chosen meanwhile
                if ui.counting_for == Some(model) {
                    if counter.is_none() {
                        ui.counting_for = None;
                    }
                    ui.prompt_state.set_counter(counter);
                }
                Ok(())
            })
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "tokens are not counted");
        }
    }
}
