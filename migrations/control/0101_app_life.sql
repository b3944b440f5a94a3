-- What a deleted app leaves behind. Its row in `apps` stays, so that its tokens survive an undelete, and
-- gives its name away: there it is called `<name>~<id>`, which no app can be called.
CREATE TABLE _streamhub_trash (
    app_id INTEGER PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    trash_name TEXT NOT NULL,
    deleted_at TEXT NOT NULL
);
CREATE INDEX _streamhub_trash_by_name ON _streamhub_trash (name, deleted_at);

-- The apps in the middle of a step, which the next start finishes.
CREATE INDEX _streamhub_apps_by_step ON apps (state) WHERE state IN ('creating', 'moving', 'deleting');

-- Live streams are few, however many apps a tenant has.
CREATE INDEX _streamhub_attention_by_kind ON _streamhub_attention (kind);
