//! The milestone verbs on archived milestones.

use std::fs;

use milescale_testkit::Workspace;

use super::super::super::milestones::{Bench, benches, put, sqlite3};
use super::{done, exported, files, listed};

const TEXT: &str = "# a note\nid: a\ntitle: One   # kept\nstatus: planned\n";

/// When the milestone was written last, as lists say it.
fn shown(workspace: &Workspace, id: &str) -> serde_json::Value {
    done(workspace, &["milestone", "show", id, "--json"]).json()
}

fn index_rows(workspace: &Workspace) -> String {
    sqlite3(workspace, "index.db", "SELECT id, status FROM milestones ORDER BY id").trim_end().to_owned()
}

#[test]
fn l22_the_archive_is_the_same_on_every_backend() {
    for bench in &benches() {
        it_is_known(bench);
        it_comes_back(bench);
        for id in ["a", "b"] {
            done(&bench.workspace, &["milestone", "archive", id]);
        }
        layouts_of_adapters_are_known(bench);
        one_of_an_id_in_use_is_kept(bench);
    }
}

fn it_is_known(Bench { workspace, backend, .. }: &Bench) {
    assert_eq!(put(workspace, &["a"], TEXT).code, 0, "{backend}");
    assert_eq!(put(workspace, &["b"], "id: b\nstatus: active\n").code, 0, "{backend}");
    done(workspace, &["check"]);
    done(workspace, &["milestone", "archive", "a"]);
    let archived = TEXT.replace("planned", "archived");
    assert_eq!(done(workspace, &["milestone", "show", "a"]).out, archived, "{backend}");
    assert_eq!(listed(workspace, &["list"]), ["b"], "{backend}");
    assert_eq!(listed(workspace, &["list", "--all"]), ["a", "b"], "{backend}");
    assert_eq!(listed(workspace, &["list", "--status", "archived"]), ["a"], "{backend}");
    assert_eq!(done(workspace, &["milestone", "list", "--all"]).out.lines().count(), 2, "{backend}");
    assert_eq!(listed(workspace, &["search", "one", "--all"]), ["a"], "{backend}");
    assert!(listed(workspace, &["search", "one"]).is_empty(), "{backend}");
    for more in [&[][..], &["--all"]] {
        let ids: Vec<_> = exported(workspace, more).iter().map(|it| it["id"].to_string()).collect();
        assert!(ids.len() == 2 && ids.contains(&"\"a\"".to_owned()), "{backend}: {ids:?}");
    }
    done(workspace, &["milestone", "export", "--dir", "copy"]);
    assert_eq!(fs::read_to_string(workspace.root().join("copy/a.yaml")).unwrap(), archived, "{backend}");

    // Twice is done twice, and changes nothing.
    let before = shown(workspace, "a");
    done(workspace, &["milestone", "archive", "a"]);
    assert_eq!(shown(workspace, "a"), before, "{backend}");
    let digest = before["digest"].as_str().unwrap();
    for more in [&[][..], &["-", "--if-match", digest]] {
        let refused = put(workspace, &[&["a"], more].concat(), TEXT);
        assert!(refused.code == 1 && refused.err.contains("milestone unarchive a"), "{backend}: {refused:?}");
        assert!(refused.err.contains("nothing was written"), "{backend}: {refused:?}");
    }
    assert_eq!(shown(workspace, "a"), before, "{backend}");
    if *backend == "hybrid" {
        assert_eq!(index_rows(workspace), "b|active");
    }
}

fn it_comes_back(Bench { workspace, backend, .. }: &Bench) {
    let digest = shown(workspace, "a")["digest"].as_str().unwrap().to_owned();
    let stale = ["milestone", "unarchive", "a", "--if-match", &"0".repeat(64)];
    assert!(workspace.run(stale).err.contains("changed meanwhile"), "{backend}");
    let said = done(workspace, &["milestone", "unarchive", "a", "--if-match", &digest, "--json"]).json();
    assert_eq!((&said["id"], &said["archived"]), (&"a".into(), &false.into()), "{backend}");
    let back = TEXT.replace("planned", "active");
    assert!(!workspace.path("completed/a.yaml").exists(), "{backend}");
    assert_eq!(done(workspace, &["milestone", "show", "a"]).out, back, "{backend}");
    assert_eq!(listed(workspace, &["list"]), ["a", "b"], "{backend}");
    assert_eq!(listed(workspace, &["list", "--all"]), ["a", "b"], "{backend}");
    assert_eq!(workspace.status()["milestone_count"], 2, "{backend}");
    let before = shown(workspace, "a");
    done(workspace, &["milestone", "unarchive", "a"]);
    assert_eq!(shown(workspace, "a"), before, "{backend}: twice is done twice");
    if *backend == "hybrid" {
        assert_eq!(index_rows(workspace), "a|active\nb|active");
    }
    done(workspace, &["milestone", "archive", "a"]);
    done(workspace, &["milestone", "unarchive", "a", "--status", "paused"]);
    assert_eq!(shown(workspace, "a")["status"], "paused", "{backend}");
    let refused = workspace.run(["milestone", "unarchive", "a", "--status", "archived"]);
    assert_eq!(refused.code, 1, "{backend}: {refused:?}");
    let nothing = workspace.run(["milestone", "unarchive", "nowhere"]);
    assert!(nothing.code == 1 && nothing.err.contains("there is no milestone nowhere"), "{backend}: {nothing:?}");
    let last = workspace.read("logs/storage-events.jsonl");
    let last = last.lines().last().unwrap();
    assert!(last.contains("\"nowhere\"") && last.contains("\"operation\":\"write\""), "{backend}: {last}");
    assert!(fs::read_dir(workspace.path("locks")).unwrap().next().is_none(), "{backend}: locks are given back");
}

fn layouts_of_adapters_are_known(Bench { workspace, backend, .. }: &Bench) {
    workspace.write("completed/plain.yaml", "title: needle\nstatus: completed\n");
    workspace.write("completed/2024/of-a-year.yaml", "title: needle\n");
    workspace.write("completed/2025/q1/own/own.yaml", "title: needle\n");
    workspace.write("completed/2025/q1/own/notes.yaml", "title: needle, and no milestone\n");
    workspace.write("completed/a folder/definition.yaml", "# kept\nid: defined\ntitle: needle\n");
    workspace.write("completed/a folder/progress.yaml", "title: needle, and no milestone\n");
    workspace.write("completed/unsaid/definition.yaml", "title: needle\n");
    workspace.write("completed/definition.yaml", "title: needle\n");
    workspace.write("completed/2024/2024.yaml", "title: needle\n");
    workspace.write("completed/.hidden/no.yaml", "title: needle\n");
    workspace.write("completed/broken.yaml", "title: [needle\n");
    let ids = ["broken", "2024", "defined", "definition", "of-a-year", "own", "plain", "unsaid"];
    let mut all = listed(workspace, &["list", "--all"]);
    let mut found = listed(workspace, &["search", "needle", "--all"]);
    for listed in [&mut all, &mut found] {
        listed.retain(|id| !["a", "b"].contains(&id.as_str()));
        listed.sort_by_key(|id| (id != "broken", id.clone()));
    }
    assert_eq!((&all[..], &found[..]), (&ids.map(String::from)[..], &ids.map(String::from)[..]), "{backend}");
    assert!(listed(workspace, &["list"]).is_empty(), "{backend}");
    assert_eq!(workspace.status()["milestone_count"], 0, "{backend}: they are never counted");
    for id in &ids[1..] {
        let there = shown(workspace, id);
        assert!(there["place"].as_str().unwrap().starts_with(".milestones/completed/"), "{backend}: {there}");
        assert_eq!(there["id"], **id);
        done(workspace, &["milestone", "unarchive", id]);
        let back = shown(workspace, id);
        assert_eq!((&back["text"], &back["status"]), (&there["text"], &there["status"]), "{backend}: {id}");
        assert!(!back["place"].as_str().unwrap().contains("completed"), "{backend}: {back}");
    }
    assert_eq!(listed(workspace, &["list"]), ids[1..], "{backend}");
    let left: Vec<_> = files(&workspace.path("completed")).into_iter().map(|(name, _)| name).collect();
    let left: Vec<_> = left.into_iter().filter(|name| !["a.yaml", "b.yaml"].contains(&name.as_str())).collect();
    let others = [".hidden/no.yaml", "2025/q1/own/notes.yaml", "a folder/progress.yaml", "broken.yaml"];
    assert_eq!(left, others, "{backend}");
}

fn one_of_an_id_in_use_is_kept(Bench { workspace, backend, .. }: &Bench) {
    let text = TEXT.replace("id: a", "id: c");
    assert_eq!(put(workspace, &["c"], &text).code, 0, "{backend}");
    workspace.write("completed/c.yaml", "title: Another\nstatus: archived\n");
    assert_eq!(done(workspace, &["milestone", "show", "c"]).out, text, "{backend}");
    assert_eq!(listed(workspace, &["search", "another", "--all"]), ["c"], "{backend}");
    let digest = shown(workspace, "c")["digest"].as_str().unwrap().to_owned();
    let again = put(workspace, &["c", "-", "--if-match", &digest], &text.replace("One", "Two"));
    assert_eq!(again.code, 0, "{backend}: it is the active one: {again:?}");
    let refused = workspace.run(["milestone", "unarchive", "c"]);
    assert!(refused.code == 1 && refused.err.contains("nothing is written over it"), "{backend}: {refused:?}");
    done(workspace, &["milestone", "export", "--dir", "both"]);
    let copied = files(&workspace.root().join("both"));
    let names = copied.iter().map(|(name, _)| name.as_str()).filter(|name| name.ends_with("c.yaml"));
    assert_eq!(names.collect::<Vec<_>>(), ["c.yaml", "completed/c.yaml"], "{backend}");
    assert_eq!(listed(workspace, &["list", "--all"]).iter().filter(|id| *id == "c").count(), 2, "{backend}");
    if matches!(*backend, "file" | "hybrid") {
        let refused = workspace.run(["milestone", "archive", "c"]);
        assert!(refused.code == 1 && refused.err.contains("nothing is written over it"), "{backend}: {refused:?}");
        assert!(shown(workspace, "c")["status"] == "planned", "{backend}: nothing was changed");
    }
    assert_eq!(workspace.read("completed/c.yaml"), "title: Another\nstatus: archived\n", "{backend}");
}
