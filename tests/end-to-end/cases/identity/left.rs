//! Of several tables that a workspace has made the others are not taken for the one that it uses.

use milescale_testkit::Workspace;

use super::{Plans, digest, fix_identity, put};

/// A workspace that has left and retired its table in the schema `a`.
struct Tables {
    plans: Plans,
    one: Workspace,
}

impl Tables {
    fn new() -> Self {
        let plans = Plans::new();
        let tables = Self { one: plans.workspace("one"), plans };
        tables.plans.psql("CREATE SCHEMA a AUTHORIZATION ada; CREATE SCHEMA b AUTHORIZATION ada");
        tables.name("postgresql", "a");
        tables.done(&["migrate", "database", "--yes"]);
        tables.done(&["migrate", "file", "--yes"]);
        tables.done(&["retire", "postgresql", "--yes"]);
        tables
    }

    fn name(&self, engine: &str, schema: &str) {
        let url = self.plans.server.url();
        let text = format!("storage:\n  database: {{ type: {engine}, url: \"{url}\", schema: \"{schema}\" }}\n");
        self.one.write("config/storage-config.yaml", text);
    }

    fn done(&self, arguments: &[&str]) -> String {
        let said = self.one.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said.out
    }
}

/// An address of before may come back with an older configuration, alone or with the marker.
#[test]
fn l07_a_table_that_was_left_is_not_taken_for_the_one_in_use() {
    let tables = Tables::new();
    let one = &tables.one;
    tables.name("postgresql", "b");
    tables.done(&["migrate", "database", "--yes"]);
    assert_eq!(put(one, "fresh", "title: on b\n", None).code, 0);
    tables.done(&["check"]);
    for marker in ["database", "file"] {
        tables.name("postgresql", "a");
        one.write("config/storage-backend.txt", format!("{marker}\n"));
        one.run(["check"]);
        for refused in [["milestone", "list", "--all"], ["migrate", "file", "--yes"], ["migrate", "hybrid", "--yes"]] {
            let said = one.run(refused);
            assert_eq!(said.code, 1, "{refused:?}: {said:?}");
            let is_said = said.err.contains("a table that this workspace has left");
            assert!(is_said || marker == "file" && refused[0] == "migrate", "{refused:?}: {said:?}");
        }
        tables.name("postgresql", "b");
        one.write("config/storage-backend.txt", "database\n");
        assert!(tables.done(&["milestone", "list"]).contains("fresh"), "{marker}");
    }
    // A person may go on with it all the same, who is told before what is not there.
    tables.name("postgresql", "a");
    let told = fix_identity(one, "on");
    assert!(told.contains("1 milestones are missing: fresh") && told.contains("is not brought here"), "{told}");
    assert!(!tables.done(&["milestone", "list"]).contains("fresh"));
}

/// What a table holds that a person goes on with may be older than what was put since: where it differs, both are kept.
#[test]
fn l07_what_a_table_that_was_left_holds_replaces_nothing() {
    let tables = Tables::new();
    let one = &tables.one;
    assert_eq!(put(one, "m1", "title: since\n", Some(&digest(one, "m1"))).code, 0);
    tables.name("postgresql", "b");
    tables.done(&["migrate", "database", "--yes"]);
    tables.done(&["migrate", "file", "--yes"]);
    tables.name("postgresql", "a");
    fix_identity(one, "on");
    tables.done(&["import"]);
    assert!(tables.done(&["milestone", "show", "m1"]).contains("since"));
    assert_eq!(one.events_named("write_conflict").len(), 1);
    assert_eq!(one.events_named("changes_imported").len(), 0);
}

/// A plan does not take it for the old store whose place it has, and is not stuck over it.
#[test]
fn l07_a_table_that_was_left_is_adopted_or_refused() {
    let tables = Tables::new();
    tables.name("postgresql", "b");
    tables.done(&["migrate", "database", "--yes"]);
    tables.done(&["migrate", "file", "--yes"]);
    tables.done(&["retire", "postgresql", "--yes"]);
    tables.name("postgresql", "a");
    let said = tables.one.run(["migrate", "database", "--yes"]);
    assert!(said.code == 1 && said.err.contains("--adopt"), "{said:?}");
    tables.done(&["migrate", "database", "--adopt", "--yes"]);
    assert_eq!(tables.one.status()["current_backend"], "database");
}

/// Another table of an old store's engine is not followed while that one is not retired: what is written there would be nobody's.
#[test]
fn l16_a_table_beside_an_old_one_that_is_not_retired_is_not_followed() {
    let tables = Tables::new();
    tables.name("postgresql", "b");
    tables.done(&["migrate", "database", "--yes"]);
    tables.name("sqlite", "b");
    tables.done(&["migrate", "database", "--engine", "sqlite", "--yes"]);
    tables.plans.psql("UPDATE b.milestones SET data = '{\"title\": \"late\"}' WHERE id = 'm1'");
    tables.name("postgresql", "a");
    tables.one.run(["check"]);
    let changed = tables.one.events_named("backend_changed");
    let last = &changed.last().unwrap()["details"];
    assert!(last["adopted"] == false && last["reason"].to_string().contains("is not retired"), "{last}");
    tables.name("sqlite", "b");
    tables.done(&["import"]);
    assert!(tables.done(&["milestone", "show", "m1"]).contains("late"));
}

/// The address stays the same where a search path comes to name another schema.
#[test]
fn l07_an_empty_schema_of_a_search_path_is_no_table_that_is_gone() {
    let tables = Tables::new();
    tables.plans.psql("ALTER ROLE ada SET search_path = b");
    tables.name("postgresql", "");
    tables.done(&["migrate", "database", "--yes"]);
    tables.plans.psql("CREATE SCHEMA c AUTHORIZATION ada; ALTER ROLE ada SET search_path = c");
    let said = tables.one.run(["doctor"]).out;
    assert!(!said.contains("does not exist any more") && !said.contains("milescale restore"), "{said}");
    assert_eq!(tables.one.run(["milestone", "list"]).code, 1);
    // Nor is the one of before, which is there.
    tables.plans.psql("ALTER ROLE ada SET search_path = a");
    let said = tables.one.run(["milestone", "list"]);
    assert!(said.code == 1 && said.err.contains("a table that this workspace has left"), "{said:?}");
    tables.plans.psql("ALTER ROLE ada SET search_path = b");
    tables.done(&["milestone", "list"]);
}
