//! Values of every kind, drawn at random.

use milescale_document::value::Value;
use proptest::prelude::*;

/// Any number that every store keeps exactly.
pub(crate) fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        Just("123456789012345678901234567890.123".to_owned()),
    ]
}

/// Numbers that programs which read them as binary fractions of 64 bits print as they were.
pub(crate) fn plain_number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i32>().prop_map(|number| number.to_string()),
        (any::<i16>(), 1_u8..100).prop_map(|(a, b)| format!("{a}.{b:02}"))
    ]
}

/// Any value that JSON has.
pub(crate) fn any_value(number: BoxedStrategy<String>) -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z ]{0,12}",
        any::<String>().prop_map(|text| text.replace('\0', "")),
        proptest::sample::select(vec![
            "no",
            "12:30",
            "1_000",
            "2026-11-22",
            "0755",
            "~",
            "",
            "null",
            "a\nb\n",
            " a",
            "<<",
            "="
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Flag),
        number.prop_filter_map("kept exactly", |text| Value::from_json(&text).ok()),
        text.clone().prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|entries| Value::Mapping(entries.into_iter().collect())),
        ]
    })
}
