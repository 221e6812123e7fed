//! `config check`, `config show`, `config schema`.

use std::fs;

use serde_json::{Value, json};

use super::{BINARY, repository, workspace};
use milescale_testkit::Workspace;

fn schema() -> Value {
    Workspace::empty(BINARY).run(["config", "schema"]).json()
}

#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    let committed = fs::read_to_string(repository().join("config/storage-config.schema.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&committed).unwrap(),
        schema(),
        "milescale config schema > config/storage-config.schema.json"
    );
}

#[test]
fn the_schema_takes_what_the_code_takes_and_nothing_else() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let workspace = Workspace::empty(BINARY);
    let cases = [
        (json!({}), true),
        (json!({ "storage": null }), true),
        (json!({ "storage": { "backend": "hybrid", "migration": { "auto_migrate": true } } }), true),
        (json!({ "storage": { "backend": "hybrids" } }), false),
        (json!({ "storage": { "migration": { "auto_migrate": "yes" } } }), false),
        (json!({ "storage": { "monitoring": { "interval": 0 } } }), false),
        (json!({ "storage": { "monitoring": { "interval": 86400 } } }), true),
        (json!({ "storage": { "monitoring": { "interval": 86401 } } }), false),
        (json!({ "storage": { "monitoring": { "interval": 1.5 } } }), false),
        (json!({ "storage": { "thresholds": [] } }), false),
        (
            json!({ "storage": { "database": { "type": "postgresql", "url": "postgresql://u@h/d", "pool_size": 3 } } }),
            true,
        ),
        (json!({ "storage": { "database": { "url": 5 } } }), true),
    ];
    for (document, _) in &cases {
        let path = workspace.root().join("draft.yaml");
        fs::write(&path, document.to_string()).unwrap();
        let said = workspace.run(["config", "check", "draft.yaml"]);
        let (code, schema) = (said.code == 0, validator.is_valid(document));
        // The schema is the stricter one where a plain scalar is as good as a quoted text.
        assert!(code == schema || (code && document.pointer("/storage/database/url").is_some()), "{document} {said:?}");
    }
    for (document, valid) in
        cases.into_iter().filter(|(document, _)| document.pointer("/storage/database/url").is_none())
    {
        assert_eq!(validator.is_valid(&document), valid, "{document}");
    }
}

#[test]
fn check_works_offline_and_prints_places_as_compilers_do() {
    let workspace = Workspace::empty(BINARY);
    fs::write(workspace.root().join("draft.yaml"), "storage:\n  backend: fil\n  monitoring: { interval: soon }\n")
        .unwrap();
    let said = workspace.run(["config", "check", "draft.yaml"]);
    assert_eq!(said.code, 2);
    assert_eq!(
        said.out,
        "draft.yaml:2:12: error: storage.backend: found fil, expected one of auto, file, hybrid, database\n\
         draft.yaml:3:27: error: storage.monitoring.interval: found soon, expected a whole number from 1 to 86400, without quotes\n"
    );
    let json = workspace.run(["config", "check", "--json", "draft.yaml"]);
    assert_eq!((json.code, json.json()["problems"][1]["position"]["line"].as_u64()), (2, Some(3)));
    assert_eq!(workspace.run(["config", "check", "nothing.yaml"]).code, 2);
    let shipped = repository().join("config/storage-config.yaml");
    assert_eq!(workspace.run(["config", "check", shipped.to_str().unwrap()]).code, 0);
}

#[test]
fn a_key_with_dots_is_an_unknown_key_and_has_no_effect() {
    for text in [
        "storage.backend: file\nstorage.migration.auto_migrate: true\n",
        "storage:\n  migration.auto_migrate: true\n  \"monitoring.interval\": 7\n",
        "storage.migration: {auto_migrate: true}\nstorage: {monitoring: {interval: 300}}\n",
    ] {
        let workspace = workspace();
        workspace.write("config/storage-config.yaml", text);
        let said = workspace.run(["config", "check", "--strict"]);
        assert!(said.code != 0 && said.out.contains("a dot leads into no section"), "{text}: {said:?}");
        let shown = workspace.run(["config", "show"]).out;
        for key in ["storage.backend", "storage.migration.auto_migrate", "storage.monitoring.interval"] {
            let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
            assert!(!line.contains("true") && !line.contains(" 7 ") && !line.contains("file "), "{text}: {line}");
        }
    }
}

#[test]
fn show_tells_where_each_value_comes_from_and_never_a_password() {
    let mut workspace = workspace();
    workspace.write(
        "config/storage-config.yaml",
        "storage: {monitoring: {interval: 7}, database: {url: 'postgresql://ada:s3cret@h/d'}}\n",
    );
    let text = workspace.run(["config", "show"]).out;
    let line = |key: &str| {
        text.lines().find(|line| line.starts_with(key)).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("storage.monitoring.interval"), "storage.monitoring.interval 7 file");
    assert_eq!(line("storage.backend"), "storage.backend auto default");
    assert!(line("storage.database.url").starts_with("storage.database.url postgresql://ada@h:5432/d file"));
    assert!(line("storage.performance.cache_ttl").contains("no effect"), "keys without effect are named");
    workspace.environment.push(("DATABASE_TYPE".to_owned(), "postgresql".to_owned()));
    workspace.environment.push(("DATABASE_URL".to_owned(), "postgres://eve:s3cret@other/d?password=s3cret".to_owned()));
    let json = workspace.run(["config", "show", "--json"]);
    assert!(!json.out.contains("s3cret"), "{}", json.out);
    let keys = json.json()["keys"].clone();
    let origin = |key: &str| keys.as_array().unwrap().iter().find(|it| it["key"] == key).unwrap()["origin"].clone();
    assert_eq!(
        (origin("storage.database.type"), origin("storage.database.url")),
        ("environment".into(), "environment".into())
    );
    for arguments in [&["status"][..], &["status", "--json"], &["doctor"], &["check"]] {
        let said = workspace.run(arguments);
        assert!(!said.out.contains("s3cret") && !said.err.contains("s3cret"), "{said:?}");
    }
    workspace.environment[0].1 = "oracle".to_owned();
    assert!(
        workspace.run(["config", "show"]).out.contains("\"oracle\" is not an engine; expected sqlite or postgresql")
    );
}
