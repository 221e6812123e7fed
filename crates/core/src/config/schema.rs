//! The JSON Schema of the configuration, made from the table of keys, so that editors complete the file.

use serde_json::{Map, Value as Json, json};

use super::Config;
use super::keys::{KEYS, Key, Kind};

/// The schema, a JSON object. Unknown keys are marked, as `config check` names them.
pub fn json_schema() -> Json {
    let mut root = object();
    for key in KEYS {
        let mut place = &mut root;
        let mut parts = key.path.split('.').peekable();
        while let Some(part) = parts.next() {
            let properties = &mut place["properties"];
            if parts.peek().is_none() {
                properties[part] = leaf(key);
            } else if properties.get(part).is_none() {
                properties[part] = object();
            }
            place = &mut place["properties"][part];
        }
    }
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("milescale: .milestones/config/storage-config.yaml"));
    if let Json::Object(root) = root {
        schema.extend(root);
    }
    Json::Object(schema)
}

fn object() -> Json {
    json!({ "type": ["object", "null"], "additionalProperties": false, "properties": {} })
}

fn leaf(key: &Key) -> Json {
    let about = match key.without_effect {
        Some(why) => format!("{} No effect: {why}.", key.about),
        None => key.about.to_owned(),
    };
    let mut leaf = match key.kind {
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Count { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Text => json!({ "type": "string" }),
    };
    leaf["description"] = json!(about);
    leaf["default"] = json!((key.get)(&Config::default()));
    leaf
}
