mod exhaustion;

use super::parse;
use crate::facts::Facts;

fn facts(text: impl AsRef<[u8]>) -> Facts {
    Facts::of(parse(text.as_ref()).unwrap().tree())
}

fn flaw(text: impl AsRef<[u8]>) -> String {
    parse(text.as_ref()).unwrap_err().to_string()
}

#[test]
fn bom_crlf_and_a_missing_newline_change_nothing() {
    let text = "id: a\ntasks:\n  - {id: t, kiro_workflow: {enabled: true}}\ndependencies: {requires: [x, 'y']}";
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    for text in [text.to_owned(), windows, format!("{text}\n"), format!("---\n{text}\n...\n")] {
        let facts = facts(text);
        assert_eq!((facts.kiro_enabled, facts.requires, facts.declared_id.as_deref()), (1, 2, Some("a")));
    }
}

#[test]
fn only_true_in_that_spelling_counts_quoted_or_not() {
    for (spelling, count) in [
        ("true", 1),
        ("\"true\"", 1),
        ("'true'", 1),
        ("!!str true", 1),
        ("True", 0),
        ("yes", 0),
        ("untrue", 0),
        ("", 0),
        ("[true]", 0),
        ("{true: true}", 0),
    ] {
        let text = format!("tasks: [{{kiro_workflow: {{enabled: {spelling}}}}}]");
        assert_eq!(facts(text).kiro_enabled, count, "{spelling}");
    }
}

#[test]
fn tasks_and_requires_of_every_shape() {
    for (text, kiro, requires) in [
        ("tasks: null", 0, 0),
        ("tasks: [one, two]", 0, 0),
        ("tasks: {a: {kiro_workflow: {enabled: true}}, b: {kiro_workflow: {enabled: true}}}", 2, 0),
        ("tasks:\n- kiro_workflow: yes\n- kiro_workflow: {enabled: true}\n", 1, 0),
        ("progress: 50\ntasks: 3\ndependencies: 4", 0, 0),
        ("dependencies: {requires: some-id}", 0, 1),
        ("dependencies: {requires: ''}", 0, 0),
        ("dependencies: {requires: ~}", 0, 0),
        ("dependencies: {requires: }", 0, 0),
        ("dependencies: {requires: [a, ~, null, '~', '', {b: c}]}", 0, 4),
        ("dependencies: {requires: {a: x, b: y}}", 0, 2),
        ("dependencies: [requires]", 0, 0),
        ("w: &w {enabled: true}\ntasks: [{kiro_workflow: *w}, {kiro_workflow: *w}]", 2, 0),
    ] {
        let facts = facts(text);
        assert_eq!((facts.kiro_enabled, facts.requires), (kiro, requires), "{text}");
    }
}

#[test]
fn says_where_and_why() {
    for (text, expected) in [
        ("", "it is empty; expected a mapping, such as `id: …`"),
        ("# only a comment\n", "it is empty; expected a mapping, such as `id: …`"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key \"a\" stands here a second time"),
        ("x:\n  a: 1\n  \"a\": 2\n", "line 3, column 3: the key \"a\" stands here a second time"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document begins here; expected one"),
        ("- a\n- b\n", "line 1, column 1: it is a list; expected a mapping, such as `id: …`"),
        ("hello\n", "line 1, column 1: it is a single value; expected a mapping, such as `id: …`"),
        (
            "a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> x\n",
            "line 2, column 1: a conflict marker of git stands here; resolve the conflict",
        ),
        ("[a, b]: c\n", "line 1, column 1: a key here is a list or mapping; expected a text"),
    ] {
        assert_eq!(flaw(text), expected, "{text}");
    }
    assert!(flaw("a: 1\nb: \"cut\n").starts_with("line "), "{}", flaw("a: 1\nb: \"cut\n"));
    assert!(flaw("a:\n\tb: 1\n").starts_with("line 2"));
    assert_eq!(flaw(b"a: 1\nb: \xff\n"), "line 2, column 4: it is not UTF-8 from here on; save it as UTF-8");
    assert!(flaw("a: *nothing\n").contains("line 1"));
    assert!(flaw("a: &a [*a]\n").contains("line 1"), "{}", flaw("a: &a [*a]\n"));
}

#[test]
fn depth_aliases_and_size_are_bounded() {
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        assert!(flaw(format!("a: {deep}")).contains("line 1") || !flaw(&deep).is_empty());
    }
    let block: String = (0..2000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(flaw(block).contains("line 1"));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(flaw(bomb).contains("more than 1000000 values, aliases expanded"));
    assert!(flaw(vec![b'a'; (16 << 20) + 1]).contains("limit of 16 MiB"));
    assert!(flaw("- \n".repeat(1_500_000)).contains("more than 1000000 values"));
}

#[test]
fn what_the_parser_quotes_is_harmless() {
    let flaw = flaw("a: \u{1b}[2J\n");
    assert!(flaw.contains("\\u{1b}") && !flaw.contains('\u{1b}'), "{flaw:?}");
}
