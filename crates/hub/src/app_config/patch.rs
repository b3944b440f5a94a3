//! What a change does to an app's configuration.
//!
//! A change is a JSON merge patch (RFC 7396) of what a person was shown, secrets masked. So a value
//! that is still what was shown is no change, and the mask is never stored. Whether the outcome is a
//! good configuration is judged by who asked.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};
use serde_yaml::{Mapping, Value as Yaml};

use super::{AppConfigError, below, key_text, mask_entry};
use crate::secrets::{MASK, mask_url};

/// `tree` after `patch`; or each key that would get the mask for a value.
pub(super) fn apply(tree: &Mapping, patch: &Json) -> Result<Mapping, Vec<AppConfigError>> {
    let Json::Object(changes) = patch else { return Err(vec![AppConfigError::NotAPatch]) };
    let mut tree = tree.clone();
    let mut masked = Vec::new();
    merge(&mut tree, "", changes, &mut masked);
    if masked.is_empty() { Ok(tree) } else { Err(masked) }
}

fn merge(tree: &mut Mapping, above: &str, changes: &Map<String, Json>, masked: &mut Vec<AppConfigError>) {
    for (name, change) in changes {
        // A key of the file may be a number, which is a text in JSON.
        let same = tree.keys().find(|key| key_text(key) == *name);
        let key = same.cloned().unwrap_or_else(|| name.as_str().into());
        if tree.get(&key).is_some_and(|stored| mask_entry(name, stored) == *change) {
            continue;
        }
        match change {
            Json::Null => {
                tree.shift_remove(&key);
            }
            Json::Object(changes) => {
                let at = below(above, &key);
                let section = tree.entry(key).or_insert(Yaml::Null);
                if !section.is_mapping() {
                    *section = Mapping::new().into();
                }
                let section = section.as_mapping_mut().expect("it was made one");
                merge(section, &at, changes, masked);
            }
            value if holds_mask(value) => masked.push(AppConfigError::Masked { key: below(above, &key) }),
            value => {
                let value = serde_yaml::to_value(value).expect("JSON can be written as YAML");
                tree.insert(key, value);
            }
        }
    }
}

/// Whether the mask stands anywhere in `value`, as a text or as the password of a URL.
fn holds_mask(value: &Json) -> bool {
    match value {
        Json::String(text) => text == MASK || matches!(mask_url(text), Cow::Owned(same) if same == *text),
        Json::Array(items) => items.iter().any(holds_mask),
        Json::Object(entries) => entries.values().any(holds_mask),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{AppConfig, Durability};
    use super::*;

    const STORED: &str = "\
z: {kept: [1, {token_key: hunter2}], 3: three}
name: demo
callbacks:
  url: https://u:hunter2@h/x
  secret: hunter2
recording: {enabled: true, split_minutes: 5}
mqtt: {broker_password: hunter2, url: mqtt://h}
a: last
";

    fn stored() -> AppConfig {
        AppConfig::from_text(STORED, Path::new("config.yaml")).unwrap()
    }

    /// What `STORED` becomes, its secrets shown.
    fn patched(patch: &Json) -> Json {
        serde_yaml::from_str(&stored().patched(patch).unwrap().to_text()).unwrap()
    }

    /// What is wrong with a change.
    fn refused(patch: &Json) -> Vec<String> {
        let wrong = stored().patched(patch).unwrap_err();
        assert!(wrong.iter().all(|error| error.way_out().is_some()));
        assert!(!format!("{wrong:?}").contains("hunter2"));
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_merges_and_leaves_the_rest_in_its_place() {
        let patch = json!({
            "recording": {"enabled": false, "split_minutes": null},
            "features": {"chat": true, "none": null},
            "z": {"3": "drei"},
            "a": {"b": {"c": [null]}},
            "gone": null,
            "mqtt": null,
            "durability": "normal",
        });
        let changed = stored().patched(&patch).unwrap();
        assert_eq!(changed.durability(), Durability::Normal);
        let expected = "\
z:
  kept:
  - 1
  - token_key: hunter2
  3: drei
name: demo
callbacks:
  url: https://u:hunter2@h/x
  secret: hunter2
recording:
  enabled: false
a:
  b:
    c:
    - null
durability: normal
features:
  chat: true
";
        assert_eq!(changed.to_text(), expected);
    }

    #[test]
    fn what_was_shown_can_be_handed_back() {
        let (before, shown) = (stored(), stored().masked());
        assert!(shown.to_string().contains(MASK) && !shown.to_string().contains("hunter2"));
        assert_eq!(before.patched(&shown).unwrap().to_text(), before.to_text());
        let patch = json!({"callbacks": {"secret": "***", "url": "https://u:***@h/x"}, "name": "new"});
        let after = patched(&patch);
        assert_eq!(after["callbacks"], json!({"secret": "hunter2", "url": "https://u:hunter2@h/x"}));
        assert_eq!(after["name"], "new");
    }

    #[test]
    fn a_secret_can_be_set_and_removed_and_is_never_shown() {
        let patch = json!({"callbacks": {"secret": "hunter3"}, "s3": {"signing_key": "hunter3"}, "mqtt": {"broker_password": null}});
        let changed = stored().patched(&patch).unwrap();
        assert!(changed.to_text().contains("secret: hunter3"));
        assert!(!format!("{changed:?}").contains("hunter"));
        assert_eq!(changed.masked()["s3"]["signing_key"], MASK);
        assert_eq!(changed.masked()["mqtt"], json!({"url": "mqtt://h"}));
    }

    #[test]
    fn the_mask_is_never_stored() {
        for (patch, key) in [
            (json!({"s3": {"signing_key": "***"}}), "s3.signing_key"),
            (json!({"callbacks": {"url": "https://u:***@elsewhere/x"}}), "callbacks.url"),
            (json!({"z": {"kept": [{"token_key": "***"}]}}), "z.kept"),
            (json!({"a": {"x_password": {"y": "***"}}}), "a.x_password.y"),
            (json!({"mqtt": {"url": "mqtt://u:***@h"}}), "mqtt.url"),
        ] {
            assert_eq!(refused(&patch), [format!("{key} would become ***, which is how a secret is shown")]);
        }
        assert_eq!(refused(&json!({"a": "***", "x": ["***"]})).len(), 2);
    }

    #[test]
    fn the_outcome_is_judged_as_a_file_is() {
        let patch = json!({"name": 1, "recording": {"enabled": "hunter2"}, "durability": "fast"});
        let wrong = refused(&patch);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong.contains(&"config.yaml: recording.enabled must be true or false".to_owned()));
        assert!(refused(&json!({"a": "x".repeat(1 << 16)}))[0].contains("larger than"));
        assert!(refused(&json!({"<<": "x"}))[0].contains("merge keys"));
        for patch in [json!(null), json!([]), json!("name")] {
            assert!(refused(&patch)[0].contains("must be an object"));
        }
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let scalar = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            any::<String>().prop_map(Json::from),
            "[-#:>|&*!%@`'\"{}?,~0-9a-z \\n\\t]{0,12}".prop_map(Json::from),
        ];
        scalar.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                proptest::collection::btree_map(any_key(), inner, 0..4)
                    .prop_map(|entries| Json::Object(entries.into_iter().collect())),
            ]
        })
    }

    fn any_key() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z]{1,6}(_key|_secret)?", "[-#:>|&*!%@`'\"{}?,~0-9a-z \\n]{0,8}"]
    }

    proptest! {
        #[test]
        fn any_change_reads_back_and_survives_being_handed_back(x in any_json(), y in any_json()) {
            let Ok(once) = stored().patched(&json!({"x": x})) else { return Ok(()) };
            let text = once.to_text();
            let read = AppConfig::from_text(&text, Path::new("config.yaml")).unwrap();
            prop_assert_eq!(&read.tree, &once.tree);
            prop_assert_eq!(&once.patched(&once.masked()).unwrap().to_text(), &text);
            // A second change leaves everything else as it was.
            let Ok(twice) = once.patched(&json!({"y": y})) else { return Ok(()) };
            prop_assert!(twice.to_text().starts_with(&text));
        }
    }
}
