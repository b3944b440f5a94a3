//! What `tracing` says, as records.

use std::fmt::Debug;

use serde_json::{Map, Value};
use streamhub_control::logs::{Level, Record};
use streamhub_engine::time::Moment;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::logs::{LogSink, WRITES};

/// Bytes of a message, at the most.
const MESSAGE: usize = 8 << 10;

/// Bytes of all fields of a record or a span, at the most.
const FIELDS: usize = 8 << 10;

/// The field that names the app that something is about.
const APP: &str = "app.id";

/// The field that `tracing` keeps an event's text in.
const TEXT: &str = "message";

impl LogSink {
    /// What takes events of level info and above out of `tracing`, with the fields of the spans around them. The
    /// field `app.id` says which app an event is about. Secrets are not recognised: whoever logs leaves them out.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> {
        LogLayer { sink: self.clone() }.with_filter(LevelFilter::INFO)
    }
}

struct LogLayer {
    sink: LogSink,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // What goes wrong with writing the log would otherwise be written to the log.
        if WRITES.get() {
            return;
        }
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.add(of_span);
            }
        }
        event.record(&mut fields);
        self.sink.push(fields.into_record(event.metadata()));
    }
}

/// Fields with their values, up to [`FIELDS`] bytes.
#[derive(Default)]
struct Fields {
    message: String,
    app: Option<String>,
    values: Map<String, Value>,
    bytes: usize,
}

impl Fields {
    fn into_record(self, metadata: &tracing::Metadata<'_>) -> Record {
        let meta = (!self.values.is_empty()).then(|| Value::Object(self.values).to_string());
        Record {
            ts: Moment::now(),
            level: level(*metadata.level()),
            source: metadata.target().to_owned(),
            app: self.app,
            message: self.message,
            meta_json: meta,
        }
    }

    /// Adds those of a span.
    fn add(&mut self, other: &Self) {
        for (name, value) in &other.values {
            self.insert(name, value.clone());
        }
        self.app = other.app.clone().or(self.app.take());
    }

    fn text(&mut self, name: &str, text: &str) {
        if name == TEXT {
            cut(text, MESSAGE).clone_into(&mut self.message);
            return;
        }
        if name == APP {
            self.app = Some(cut(text, FIELDS).to_owned());
        }
        let left = FIELDS.saturating_sub(self.bytes + name.len());
        self.insert(name, cut(text, left).into());
    }

    /// Leaves a field out where there is no room for it.
    fn insert(&mut self, name: &str, value: Value) {
        const NUMBER: usize = 24;
        let bytes = name.len() + value.as_str().map_or(NUMBER, str::len);
        if self.bytes + bytes <= FIELDS {
            self.bytes += bytes;
            self.values.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}

fn level(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// The beginning of a text, so many bytes at the most.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
