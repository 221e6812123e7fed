use super::Value;

fn json(text: &str) -> Value {
    Value::from_json(text).unwrap()
}

#[test]
fn numbers_are_equal_whatever_their_spelling_and_exact() {
    for (one, other) in [("1", "1.0"), ("1e3", "1000"), ("0", "-0.0"), ("0.1", "1e-1"), ("120", "1.2E+2")] {
        assert_eq!(json(one), json(other), "{one} {other}");
    }
    for (one, other) in
        [("1", "-1"), ("1", "10"), ("0.1", "0.10000000000000001"), ("18446744073709551617", "18446744073709551616")]
    {
        assert_ne!(json(one), json(other), "{one} {other}");
    }
    assert_eq!(json("18446744073709551617").to_json(), "18446744073709551617");
    // As PostgreSQL spells the largest and the smallest.
    let spelled = format!("1{}", "0".repeat(399));
    assert_eq!(json(&spelled), json("1e399"));
    assert_eq!(json(&format!("0.{}1", "0".repeat(399))), json("1e-400"));
    assert!(Value::from_json("1e-401").is_err());
    assert!(Value::from_json("1e400").is_err() && Value::from_json(&"9".repeat(401)).is_err());
}

#[test]
fn mappings_are_equal_in_any_order_and_keep_their_own() {
    let (one, other) = (json(r#"{"a":1,"b":{"x":[1,2],"y":null}}"#), json(r#"{"b":{"y":null,"x":[1,2]},"a":1.0}"#));
    assert_eq!(one, other);
    assert_ne!(one, json(r#"{"a":1,"b":{"x":[2,1],"y":null}}"#));
    assert_eq!(other.to_json(), r#"{"b":{"y":null,"x":[1,2]},"a":1.0}"#);
    assert_eq!(
        json(r#"{"a":1}"#).with("a", Value::Null).with("b", Value::Flag(true)).to_json(),
        r#"{"a":null,"b":true}"#
    );
}

#[test]
fn what_is_no_json_or_not_every_store_keeps_is_named() {
    for (text, why) in [
        ("", "EOF"),
        ("{\"a\":1,\"a\":2}", "twice"),
        (r#"{"a":"\u0000"}"#, "NUL"),
        (r#"{"a":"\ud800"}"#, "surrogate"),
        ("{\"a\":1", "EOF"),
        ("not json", "expected"),
    ] {
        let flaw = Value::from_json(text).unwrap_err().to_string();
        assert!(flaw.contains(why), "{text}: {flaw}");
    }
    let deep = "[".repeat(120) + &"]".repeat(120);
    assert!(Value::from_json(&deep).is_err());
    assert_eq!(json(r#""😀""#), Value::Text("😀".to_owned()));
    assert_eq!(json(r#""\ud83d\ude00""#), Value::Text("😀".to_owned()));
}

#[test]
fn json_has_as_many_values_as_a_document_may_have() {
    for (item, values) in [("0", 1), ("{}", 1), ("[0]", 2), ("{\"a\":[]}", 2), ("\"],[\\\"\"", 1)] {
        let of = |count: usize| format!("[{}{item}]", format!("{item}, ").repeat(count - 1));
        let most = (1_000_000 - 1) / values;
        assert!(Value::from_json(&of(most)).is_ok(), "{item}");
        let flaw = Value::from_json(&of(most + 1)).map(drop);
        // What is too short to have so many is not counted.
        assert!(flaw.is_ok() == (of(most + 1).len() < 2_000_000), "{item}");
    }
}
