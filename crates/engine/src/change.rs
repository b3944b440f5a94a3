//! What becomes of single fields of what is there, as a caller says it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// A field that may be empty is kept, emptied or set. In JSON: absent, `null`, or a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes empty.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

impl<T> From<Option<T>> for Change<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    // An absent field does not come here; it is `Keep` by `#[serde(default)]`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::from)
    }
}

impl<T> Change<T> {
    /// The value that it becomes, where it becomes one.
    pub fn given(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// What the field becomes that held this.
    pub fn of(self, former: Option<T>) -> Option<T> {
        match self {
            Self::Keep => former,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// For a field that is never empty, in an `Option` with `#[serde(default)]`: absent keeps it, and `null` is an error.
pub fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Patch {
        #[serde(default)]
        room: Change<String>,
        #[serde(default, deserialize_with = "required")]
        name: Option<String>,
    }

    #[test]
    fn absent_keeps_null_clears_and_what_cannot_be_empty_is_refused() {
        let patch = |json: &str| serde_json::from_str::<Patch>(json);
        let former = || Some("lobby".to_owned());
        for (json, becomes) in
            [("{}", former()), (r#"{"room":null}"#, None), (r#"{"room":"a"}"#, Some("a".to_owned()))]
        {
            let patch = patch(json).unwrap();
            assert_eq!(patch.room.given(), becomes.as_ref().filter(|text| *text == "a"), "{json}");
            assert_eq!((patch.room.of(former()), patch.name), (becomes, None), "{json}");
        }
        assert_eq!(patch(r#"{"name":"b"}"#).unwrap().name.as_deref(), Some("b"));
        assert!(patch(r#"{"name":null}"#).is_err());
    }
}
