//! Milestones of a backup that a table does not take: named one by one, and no other waits for them.

use milescale_testkit::{Postgres, Said, Workspace};

use super::super::super::milestones::{put, sqlite3};
use super::super::super::workspace;
use super::{backups, done};

/// What a person adds to a table, so that it takes no milestone whose title is Bad, and part of what is said then.
const REFUSE: [(&str, &str, &str); 5] = [
    (
        "sqlite",
        "CREATE TRIGGER frozen BEFORE INSERT ON milestones WHEN json_extract(new.data, '$.title') = 'Bad'
         BEGIN SELECT RAISE(ABORT, 'the plan is frozen'); END;
         CREATE TRIGGER frozen_too BEFORE UPDATE ON milestones WHEN json_extract(new.data, '$.title') = 'Bad'
         BEGIN SELECT RAISE(ABORT, 'the plan is frozen'); END",
        "the plan is frozen",
    ),
    ("sqlite", "CREATE UNIQUE INDEX numbers ON milestones(json_extract(data, '$.number'))", "UNIQUE constraint failed"),
    ("postgresql", "ALTER TABLE milestones ADD CONSTRAINT good CHECK (data->>'title' <> 'Bad')", "good"),
    ("postgresql", "CREATE UNIQUE INDEX numbers ON milestones((data->>'number'))", "numbers"),
    ("postgresql", "CREATE INDEX numbers ON milestones(((data->>'size')::int))", "invalid input syntax"),
];

#[test]
fn what_a_table_refuses_is_named_and_the_rest_is_restored() {
    let server = Postgres::start();
    for (number, (engine, refuses, why)) in REFUSE.into_iter().enumerate() {
        let workspace = workspace();
        let name = format!("refusing{number}");
        if engine == "postgresql" {
            let url = server.database(&name);
            let text = format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n");
            workspace.write("config/storage-config.yaml", text);
        }
        let sql = |text: &str| -> String {
            if engine == "sqlite" { sqlite3(&workspace, "enterprise.db", text) } else { server.psql(&name, text) }
        };
        for (id, text) in [
            ("a", "title: One\nnumber: 1\n"),
            ("b", "title: Bad\nnumber: 4\nsize: large\n"),
            ("c", "title: Two\nnumber: 3\n"),
        ] {
            workspace.write(format!("active/{id}.yaml"), text);
        }
        for to in ["database", "file", "database"] {
            done(&workspace, &["migrate", to, "--yes"]);
        }
        let backup = backups(&workspace).into_iter().find(|it| it.contains(&format!("-{engine}-to-file"))).unwrap();
        for (id, others) in [("a", 1), ("b", 2), ("c", 4)] {
            let text = format!("title: Later\nnumber: {others}\nsize: 1\n");
            let said = replaced(&workspace, id, &text);
            assert_eq!(said.code, 0, "{said:?}");
        }
        sql(refuses);
        let said = workspace.run(["restore", &backup, "--yes", "--json"]);
        let told = said.json();
        let failed = told["failed"].as_array().unwrap();
        assert!(said.code == 1 && failed.len() == 1, "{engine}, {refuses}: {said:?}");
        // The number of the third one is taken until it has its own again.
        let reason = failed[0]["reason"].as_str().unwrap();
        assert!(failed[0]["id"] == "b" && reason.contains(why) && reason.contains("change the milestone"), "{told}");
        assert_eq!(told["written"], 2, "{told}");
        is_as_written(&workspace);
    }
}

/// Puts another text in the place of what is there.
fn replaced(workspace: &Workspace, id: &str, text: &str) -> Said {
    let digest = done(workspace, &["milestone", "show", "--digest", id]).out;
    put(workspace, &[id, "--if-match", digest.trim()], text)
}

/// Two are what the backup holds, and the one that was refused is what it was.
fn is_as_written(workspace: &Workspace) {
    let titles = super::titles(workspace);
    assert_eq!(titles, "a One -; b Later -; c Two -", "{titles}");
    // A write says the same, and not that it is to be tried again.
    let said = replaced(workspace, "b", "title: Bad\nnumber: 3\nsize: large\n");
    let is_said = said.err.contains("nothing was written: change the milestone") && !said.err.contains("try again");
    assert!(said.code == 1 && is_said, "{said:?}");
}
