//! A progress bar on a terminal, plain lines elsewhere.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use streamhub::progress::Progress;

/// How often a plain line may say how far a step is.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the steps of work that is done elsewhere, as far as they are seen.
pub(crate) struct Steps<'a> {
    progress: &'a dyn Progress,
    /// The step that was seen last, and how much of it was done.
    seen: Option<(String, u64)>,
}

impl<'a> Steps<'a> {
    pub(crate) fn of(progress: &'a dyn Progress) -> Self {
        Self { progress, seen: None }
    }

    /// What is done at the moment, and how much of it, where that is known.
    pub(crate) fn show(&mut self, step: &str, percent: Option<u8>) {
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != step) {
            self.end();
            self.progress.begin(step, percent.map(|_| 100));
            self.seen = Some((step.to_owned(), 0));
        }
        if let (Some((_, seen)), Some(percent)) = (&mut self.seen, percent) {
            let done = u64::from(percent).max(*seen);
            self.progress.advance(done - *seen);
            *seen = done;
        }
    }

    fn end(&mut self) {
        if self.seen.take().is_some() {
            self.progress.end();
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Shows progress on standard error.
pub(crate) enum Show {
    /// A bar that is redrawn in its place.
    Bar(RefCell<Option<ProgressBar>>),
    /// Lines, and not many of them.
    Lines { step: RefCell<String>, done: Cell<u64>, last: Cell<Instant> },
    /// Nothing: the user asked for quiet.
    Nothing,
}

impl Show {
    /// Chooses by what standard error is.
    pub(crate) fn on_stderr(quiet: bool) -> Self {
        if quiet {
            Self::Nothing
        } else if std::io::stderr().is_terminal() {
            Self::Bar(RefCell::default())
        } else {
            Self::Lines { step: RefCell::default(), done: Cell::new(0), last: Cell::new(Instant::now()) }
        }
    }
}

impl Progress for Show {
    fn begin(&self, step: &str, units: Option<u64>) {
        match self {
            Self::Bar(current) => {
                let bar = match units {
                    Some(units) => ProgressBar::new(units).with_style(
                        ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len}")
                            .expect("the template is fixed"),
                    ),
                    None => ProgressBar::new_spinner().with_style(
                        ProgressStyle::with_template("{spinner} {msg} {human_pos} rows, {per_sec}")
                            .expect("the template is fixed"),
                    ),
                };
                bar.set_message(crate::output::visible(step).into_owned());
                current.replace(Some(bar));
            }
            Self::Lines { step: current, done, last } => {
                crate::output::say(&step);
                step.clone_into(&mut current.borrow_mut());
                done.set(0);
                last.set(Instant::now());
            }
            Self::Nothing => {}
        }
    }

    fn advance(&self, units: u64) {
        match self {
            Self::Bar(current) => {
                if let Some(bar) = &*current.borrow() {
                    bar.inc(units);
                }
            }
            Self::Lines { step, done, last } => {
                done.set(done.get() + units);
                // The clock is asked only now and then: this is called for every row.
                if done.get() % 1024 < units && last.get().elapsed() >= LINE_EVERY {
                    crate::output::say(&format!("{}: {} so far", step.borrow(), done.get()));
                    last.set(Instant::now());
                }
            }
            Self::Nothing => {}
        }
    }

    fn end(&self) {
        if let Self::Bar(current) = self
            && let Some(bar) = current.take()
        {
            bar.finish_and_clear();
        }
    }
}
