//! Documents that not every store keeps: one answer everywhere, with the line.

use std::io::Write as _;
use std::process::Stdio;

use milescale_testkit::Postgres;

use super::{migrate, with_server, workspace};

/// What a milestone ends with, and what is said of it, with its line.
const REFUSED: [(&str, &str, &str); 14] = [
    ("number-key", "levels:\n  1: low\n", "line 5, column 3: a key here is a number"),
    ("flow-key", "levels: {a: {1.5: low}}\n", "line 4, column 14: a key here is a number"),
    ("true-key", "true: low\n", "line 4, column 1: a key here is true or false"),
    ("null-key", "~: low\n", "line 4, column 1: a key here is null"),
    ("empty-key", "levels:\n  : low\n", "a key here is null"),
    ("lone", "list:\n  - ?\n", "a key here is null"),
    ("list-key", "? [a]\n: x\n", "a key here is a list or mapping"),
    ("anchored-key", "a: &a 1\nb: {*a : x}\n", "a key here is a number"),
    ("inf", "n: .inf\n", "line 4, column 4: .inf is a number that JSON does not have"),
    ("minus-inf", "n: [-.INF]\n", "line 4, column 5: -.INF is a number that JSON does not have"),
    ("nan", "n: .NaN # why\n", "line 4, column 4: .NaN is a number that JSON does not have"),
    ("large", "n: 1e999\n", "line 4, column 4: the number is larger than every store keeps exactly"),
    ("tag", "n: !mine x\n", "line 4, column 10: the tag !mine has no meaning"),
    ("merge", "a: &a {b: c}\nd:\n  <<: *a\n", "line 6, column 3: a merge key means one thing"),
];

const HEAD: &str = "title: T\ntasks: [{kiro_workflow: {enabled: true}}]\ndependencies: {requires: [x]}\n";

#[test]
fn l29_l30_what_not_every_store_keeps_is_one_answer_everywhere() {
    let workspace = workspace();
    workspace.write("active/good.yaml", HEAD);
    workspace.write("active/quoted.yaml", format!("{HEAD}'1': a\n\"true\": b\n007: c\n'~': d\nn: !!str .inf\n"));
    let mut refused = REFUSED.map(|(id, end, said)| (id, format!("{HEAD}{end}"), said)).to_vec();
    refused.push(("head-tag", format!("--- !issue\n{HEAD}"), "the tag !issue has no meaning outside of YAML"));
    for (id, text, _) in &refused {
        workspace.write(format!("active/{id}.yaml"), text);
    }
    for backend in ["file", "hybrid"] {
        if backend == "hybrid" {
            migrate(&workspace, &["hybrid"]);
        }
        let status = workspace.status();
        assert_eq!(status["milestone_count"], refused.len() as u64 + 2, "{backend}");
        assert_eq!((&status["kiro_enabled_count"], &status["dependency_count"]), (&2.into(), &2.into()), "{backend}");
        let (list, doctor) = (workspace.run(["milestone", "list"]).out, workspace.run(["doctor"]).out);
        let (export, plan) =
            (workspace.run(["milestone", "export"]), workspace.run(["migrate", "database", "--dry-run"]));
        assert_eq!(export.out.lines().count(), 2, "{backend}: {export:?}");
        for (id, _, said) in &refused {
            let of_it = |text: &str| {
                text.lines().find(|line| line.contains(&format!("/{id}.yaml"))).unwrap_or_default().to_owned()
            };
            for (verb, text) in [("doctor", &doctor), ("export", &export.err)] {
                assert!(of_it(text).contains(said), "{backend} {verb} {id}: {text}");
            }
            let listed = list.lines().find(|line| line.starts_with(&format!("{id} "))).unwrap_or_default();
            assert!(listed.contains(said), "{backend} list {id}: {list}");
            let reason = said
                .split_once(": ")
                .filter(|(place, _)| place.starts_with("line"))
                .map_or(*said, |(_, reason)| reason);
            let planned = of_it(&plan.out);
            assert!(planned.contains(reason) && planned.contains(".yaml:"), "{backend} plan {id}: {}", plan.out);
        }
        assert!(!plan.out.contains("good.yaml") && !plan.out.contains("quoted.yaml"), "{}", plan.out);
        if backend == "file" {
            workspace.run(["check"]);
            let named = workspace.events_named("milestones_unparsable");
            assert_eq!(
                named.iter().map(|it| it["details"]["count"].as_u64().unwrap()).sum::<u64>(),
                refused.len() as u64
            );
        }
    }
}

/// What is refused on files is refused by `put` everywhere, with the same words; what is not, is not.
#[test]
fn put_refuses_the_same_on_every_backend() {
    let server = Postgres::start();
    let workspace = with_server(&server);
    for to in [None, Some(["database", "--engine", "sqlite"]), Some(["database", "--engine", "postgresql"])] {
        if let Some(to) = &to {
            migrate(&workspace, to);
        }
        for (id, end, said) in REFUSED {
            let (code, err) = put(&workspace, id, &format!("{HEAD}{end}"));
            assert!(code != 0 && err.contains(said), "{to:?} {id}: {err}");
        }
        let id = format!("0{}", to.map_or("file", |to| to[2]));
        let text = format!("id: {id}\ntitle: 007\nn: [-0, 1e3, 0x1F]\n007: x");
        assert_eq!(put(&workspace, &id, &text), (0, String::new()));
        assert_eq!(workspace.run(["milestone", "show", &id]).out, text);
    }
}

fn put(workspace: &milescale_testkit::Workspace, id: &str, text: &str) -> (i32, String) {
    let mut command = workspace.command(["milestone", "put", id]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}
