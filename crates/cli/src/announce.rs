//! What a server says of itself on standard error: lines for people, or log lines for programs.

use streamhub::apps;
use streamhub::report::{SplitReport, Tally, counted};
use streamhub::settings::LogFormat;
use streamhub::tokens::Token;

use crate::context::ANNOUNCED;
use crate::output;

/// Says it in the form that was asked for.
pub(crate) struct Announcer {
    format: LogFormat,
    quiet: bool,
}

impl Announcer {
    /// Quiet leaves out what nobody waits for.
    pub(crate) fn new(format: LogFormat, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Where it listens, once it is ready: scripts wait for this line, so it is never left out.
    pub(crate) fn listening(&self, address: &str) {
        self.always(&format!("listening on {address}"));
    }

    /// What became of older data, app by app.
    pub(crate) fn taken_over(&self, report: &SplitReport) {
        if self.format == LogFormat::Text {
            // A failure is worth a line even where little is to be said.
            if !self.quiet || report.failed() > 0 {
                output::say(report);
            }
            return;
        }
        for app in &report.apps {
            if let Some(error) = &app.error {
                let (reason, way_out) = (&error.message, &error.way_out);
                tracing::error!(app = %app.app, code = error.code, %reason, %way_out, "app not taken over");
            } else {
                let Tally { found, imported, already_there, conflicts, failures, left_over } = app.total;
                tracing::info!(
                    target: ANNOUNCED,
                    app = %app.app,
                    outcome = ?app.outcome,
                    found,
                    imported,
                    already_there,
                    conflicts,
                    failures,
                    left_over,
                    "app taken over"
                );
            }
        }
        let (apps, failed) = (report.apps.len(), report.failed());
        tracing::info!(target: ANNOUNCED, apps, failed, backup = report.backup, "take-over done");
    }

    /// The token with which the first superadmin is made. It is shown here and nowhere else.
    pub(crate) fn setup_token(&self, token: &Token) {
        self.always(&format!("no superadmin has a password yet; one-time set-up token: {}", token.reveal()));
    }

    /// The databases are open.
    pub(crate) fn ready(&self, tally: &apps::Tally) {
        let mut text = format!("ready: {}", counted(tally.total, "app"));
        for (count, what) in [(tally.pending, "out of service"), (tally.missing, "missing")] {
            if count > 0 {
                text = format!("{text}, {count} {what}");
            }
        }
        self.say(&text);
    }

    /// Something that is of no use to a script.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.always(text);
        }
    }

    fn always(&self, text: &str) {
        match self.format {
            LogFormat::Text => output::say(&text),
            LogFormat::Json => tracing::info!(target: ANNOUNCED, "{text}"),
        }
    }
}
