//! Tests of the YAML reader: what is refused, hostile texts, and agreement with the deserialiser.
#![allow(clippy::disallowed_methods, reason = "the tests put files in place")]

use super::*;
use proptest::prelude::*;

fn value(text: &str) -> Result<Value, YamlError> {
    from_str(text, Path::new("f.yaml"))
}

fn refusal(text: &str) -> Refusal {
    match value(text) {
        Err(YamlError::Refused { refusal, .. }) => refusal,
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn plain_yaml_is_read() {
    let text = "# c\nname: demo\nlist:\n  - {a: 1, b: [~, true]}\n  - 'two'\nempty:\ntext: |\n  x\n  y\n";
    assert_eq!(value(text).unwrap(), serde_yaml::from_str::<Value>(text).unwrap());
    assert_eq!(value("").unwrap(), Value::Null);
    assert_eq!(value("# only a comment\n").unwrap(), Value::Null);
    assert_eq!(value("---\na: 1\n...\n").unwrap(), value("a: 1").unwrap());
}

#[test]
fn what_is_refused_and_where() {
    let cases = [
        ("a: &x 1", Refusal::Anchor),
        ("a: &x [1]", Refusal::Anchor),
        ("&x a: 1", Refusal::Anchor),
        ("a: !t 1", Refusal::Tag),
        ("a: !!str 1", Refusal::Tag),
        ("a: ! 1", Refusal::Tag),
        ("!!map\na: 1", Refusal::Tag),
        ("a: !<tag:x,2000:y> 1", Refusal::Tag),
        ("a: [!t x]", Refusal::Tag),
        ("<<: {a: 1}", Refusal::MergeKey),
        ("b: {\"<<\": {a: 1}}", Refusal::MergeKey),
        ("a: 1\nb: 2\n\"a\": 3", Refusal::DuplicateKey { key: "a".into() }),
        ("x: [{a: 1, b: {c: 1, c: 1}}]", Refusal::DuplicateKey { key: "c".into() }),
        ("1: x\n'1': y", Refusal::DuplicateKey { key: "1".into() }),
        ("? [a]\n: b", Refusal::CollectionAsKey),
        ("{a: 1}: b", Refusal::CollectionAsKey),
        ("a: 1\n---\nb: 2", Refusal::SecondDocument),
        ("---\n---\n", Refusal::SecondDocument),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected, "{text:?}");
    }
    let error = value("ok: 1\nbad: &x 2\n").unwrap_err();
    assert!(error.to_string().starts_with("f.yaml:2:"), "{error}");
    assert!(error.to_string().ends_with(": anchors (&) are not accepted"), "{error}");
    assert!(error.way_out().is_some());
    // An alias without its anchor is refused too, as a text that no parser accepts.
    assert!(value("a: *x").is_err());
    // Two spellings of one number: only the second parser can tell.
    assert!(value("0x10: a\n16: b").unwrap_err().to_string().contains("duplicate"));
}

#[test]
fn depth_is_bounded_in_both_styles() {
    let flow = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(value(&flow(DEPTH_CAP)).is_ok());
    assert_eq!(refusal(&flow(DEPTH_CAP + 1)), Refusal::TooDeep);
    let block = "- ".repeat(DEPTH_CAP + 1) + "x";
    assert_eq!(refusal(&block), Refusal::TooDeep);
}

#[test]
fn hostile_texts_of_the_largest_size_are_answered_quickly() {
    let cap = usize::try_from(SIZE_CAP).unwrap();
    for unit in [
        "[", "{", "]", "}", "- ", "? ", "a: ", "!", "&", "*", "\"", "'", "|", ">", "%", "---\n", "#", ",",
        ":", "[a,", "{a:", "\\", "\t", "\n", "- a\n", "a:\n ", "'a'\n", "x ", "\u{feff}", "{a},", "[?,",
    ] {
        let text = unit.repeat(cap / unit.len());
        let start = std::time::Instant::now();
        let _ = value(&text);
        let _ = value(&format!("a: [{text}"));
        assert!(start.elapsed().as_secs() < 20, "{unit:?} took {:?}", start.elapsed());
    }
    assert!(matches!(value(&"x".repeat(cap + 1)), Err(YamlError::TooLarge { .. })));
}

#[test]
fn a_shape_that_does_not_fit_names_the_place() {
    #[derive(Debug, serde::Deserialize)]
    struct Shape {
        #[allow(dead_code, reason = "only its type matters")]
        n: u32,
    }
    let error = from_str::<Shape>("n: 1\nm: 2\n", Path::new("f.yaml"));
    assert!(error.is_ok());
    let error = from_str::<Shape>("m: 1\nn: text\n", Path::new("f.yaml")).unwrap_err().to_string();
    assert!(error.starts_with("f.yaml:2:4: "), "{error}");
    assert!(!error.contains(" at line "), "{error}");
    let error = value("a: [1\n").unwrap_err().to_string();
    assert!(error.starts_with("f.yaml:"), "{error}");
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    assert!(read::<Value>(&path).unwrap_err().is_missing());
    std::fs::write(&path, "a: 1").unwrap();
    assert_eq!(read::<Value>(&path).unwrap(), value("a: 1").unwrap());
    std::fs::write(&path, "\u{feff}a: 1").unwrap();
    assert_eq!(read::<Value>(&path).unwrap(), value("a: 1").unwrap());
    std::fs::write(&path, b"a: \xff").unwrap();
    assert!(matches!(read::<Value>(&path), Err(YamlError::NotUtf8 { offset: 3, .. })));
    std::fs::write(&path, "#".repeat(64 * 1024 + 1)).unwrap();
    let error = read::<Value>(&path).unwrap_err();
    assert!(error.to_string().contains("65536"), "{error}");
    let link = dir.path().join("link.yaml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let error = read::<Value>(&link).unwrap_err();
    assert!(!error.is_missing() && error.way_out().is_some());
}

/// Texts that are close to YAML, so that many of them get past the first character.
fn close_to_yaml() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => "[a-c]{1,2}",
        4 => Just(": ".to_owned()),
        4 => Just("\n".to_owned()),
        2 => Just("  ".to_owned()),
        2 => Just("- ".to_owned()),
        3 => "[\\[\\]{},?:&*!|>'\"%@`#~<=+.0-9\\\\-]",
        1 => Just("---\n".to_owned()),
        1 => Just("...\n".to_owned()),
        1 => Just("!!".to_owned()),
        1 => Just("%TAG ! tag:x,1:\n".to_owned()),
        1 => "[\t\r\u{0}\u{85}\u{a0}\u{2028}\u{feff}\u{e9}]",
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn document() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\n\u{e9}]{0,12}".prop_map(Value::from),
    ];
    let node = scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map("[a-z][a-z_]{0,6}", inner, 0..5).prop_map(mapping),
        ]
    });
    proptest::collection::btree_map("[a-z][a-z_]{0,6}", node, 1..6).prop_map(mapping)
}

fn mapping(entries: std::collections::BTreeMap<String, Value>) -> Value {
    Value::Mapping(entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_answered_and_what_is_accepted_is_what_serde_says(text in close_to_yaml()) {
        if let Ok(accepted) = value(&text) {
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            prop_assert_eq!(&accepted, &serde_yaml::from_str::<Value>(text).unwrap());
        }
    }

    #[test]
    fn arbitrary_text_is_answered(text in any::<String>()) {
        let _ = value(&text);
    }

    #[test]
    fn a_written_document_reads_back_and_one_with_an_insertion_does_not(
        document in document(),
        at in any::<proptest::sample::Index>(),
        insertion in 0..5usize,
    ) {
        let text = serde_yaml::to_string(&document).unwrap();
        prop_assert_eq!(value(&text).unwrap(), document.clone());

        let Value::Mapping(entries) = &document else { unreachable!("made as a mapping") };
        let (key, _) = entries.iter().nth(at.index(entries.len())).unwrap();
        let key = serde_yaml::to_string(key).unwrap();
        let added = match insertion {
            0 => "zz: &anchor 1\n".to_owned(),
            1 => "zz: &anchor 1\nzy: *anchor\n".to_owned(),
            2 => "zz: {deep: [!!str 1]}\n".to_owned(),
            3 => "<<: {zz: 1}\n".to_owned(),
            _ => format!("{}: 1\n", key.trim_end()),
        };
        for text in [format!("{added}{text}"), format!("{text}{added}")] {
            prop_assert!(
                matches!(value(&text), Err(YamlError::Refused { .. })),
                "{} gave {:?}", text, value(&text)
            );
        }
    }
}
