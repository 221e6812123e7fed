//! The configuration, where a move between engines exchanges it: whoever saves it meanwhile, or has it open, loses nothing.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Stdio;

use milescale_testkit::{Postgres, Workspace, until};

use super::super::super::faults::shim;
use super::{beside, die_between_configuration_and_marker, done, in_sqlite};

/// Moves to the server while another program acts before or after the exchange of the configuration. Whether that succeeded.
fn moves_beside(workspace: &Workspace, when: &str, act: &str) -> bool {
    let mut command = workspace.command(["migrate", "database", "--engine", "postgresql", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", format!("rename:1:{when}"));
    command.env("FAULT_PATH", "/config/storage-config.yaml").env("FAULT_MEET", act);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// What lies in milescale's own folder and is not in force.
fn came_out(workspace: &Workspace) -> Vec<String> {
    let names = fs::read_dir(workspace.path(".milescale")).unwrap().map(|entry| entry.unwrap().path());
    let came_out = names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("came-out"));
    came_out.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The configuration is saved in the instant of a cutover between engines, and once more while what came out goes back in.
#[test]
fn l17_an_edit_of_the_configuration_during_the_cutover_stays() {
    let server = Postgres::start();
    let edit =
        "sed 's/interval: 300/interval: 77/;s/^# mine$/# mine, edited/' CONFIG > CONFIG.new; mv CONFIG.new CONFIG";
    for (what, number, engine) in [("meet", 1, "postgresql"), ("meet", 1, "sqlite"), ("meetafter", 1, "postgresql")] {
        let workspace = in_sqlite();
        let schema = format!("{what} {engine}");
        let text = format!(
            "# mine\nstorage:\n  database:\n    type: sqlite\n    url: \"{}\"\n    schema: {schema:?}\n  monitoring:\n    interval: 300\n",
            server.url()
        );
        workspace.write("config/storage-config.yaml", text);
        if engine == "sqlite" {
            done(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
        }
        let config = workspace.path("config/storage-config.yaml");
        let mut command = workspace.command(["migrate", "database", "--engine", engine, "--yes"]);
        command.env("LD_PRELOAD", shim()).env("FAULT", format!("rename:{number}:{what}"));
        command.env("FAULT_PATH", "/config/storage-config.yaml");
        command.env("FAULT_MEET", edit.replace("CONFIG", config.to_str().unwrap()));
        let said = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert!(said.status.success(), "{what} {engine}: {}", String::from_utf8_lossy(&said.stderr));
        let text = workspace.read("config/storage-config.yaml");
        assert!(text.contains("interval: 77") && text.contains("# mine, edited"), "{what} {engine}: {text}");
        assert!(text.contains(&format!("type: {engine}")), "{what} {engine}: {text}");
        let beside = fs::read_dir(workspace.path("config")).unwrap().count();
        assert_eq!(beside, 2, "{what} {engine}: nothing is left beside marker and configuration");
        assert!(done(&workspace, &["milestone", "list"]).contains('b'));
    }
}

/// A move that dies between the configuration's engine and the marker leaves the configuration as it was, an edit included.
#[test]
fn l17_a_dead_move_gives_the_configuration_its_engine_back() {
    let server = Postgres::start();
    let (workspace, text) = beside(&server);
    die_between_configuration_and_marker(&workspace);
    assert!(workspace.read("config/storage-config.yaml").contains("type: postgresql"));
    workspace.append("config/storage-config.yaml", "# a later edit\n");
    done(&workspace, &["check"]);
    assert_eq!(workspace.read("config/storage-config.yaml"), format!("{text}# a later edit\n"));
    assert_eq!(fs::read_dir(workspace.path("config")).unwrap().count(), 2);
}

/// An editor that had the configuration open writes into what came out of the exchange; death comes before the marker.
#[test]
fn l17_an_edit_that_came_out_before_a_death_is_in_force_after_it() {
    let server = Postgres::start();
    let (workspace, text) = beside(&server);
    let config = workspace.path("config");
    let act = format!("echo '# a last edit' >> {}/.milescale-switch-1-engine; kill -9 $PPID", config.display());
    assert!(!moves_beside(&workspace, "meetafter", &act));
    assert_eq!(fs::read_dir(workspace.path("config")).unwrap().count(), 3, "what came out lies there");
    done(&workspace, &["check"]);
    assert_eq!(workspace.read("config/storage-config.yaml"), format!("{text}# a last edit\n"));
    assert_eq!(fs::read_dir(workspace.path("config")).unwrap().count(), 2);
    assert!(done(&workspace, &["doctor", "--json"]).contains("\"wrong\": 0"), "nothing came out that is not in force");
}

/// The same on the way back: somebody saves the configuration while it is to name the engine of before, and death comes some calls
/// later.
#[test]
fn l17_an_edit_that_comes_out_on_the_way_back_is_in_force_after_a_death() {
    for later in 1..=3 {
        let server = Postgres::start();
        let (workspace, text) = beside(&server);
        die_between_configuration_and_marker(&workspace);
        let mut command = workspace.command(["check"]);
        command
            .env("LD_PRELOAD", shim())
            .env("FAULT", "rename:1:meet")
            .env("FAULT_PATH", "/config/storage-config.yaml");
        let (config, edited) = (workspace.path("config/storage-config.yaml"), workspace.root().join("edited"));
        let act = format!("(cat {0}; echo '# a last edit') > {1}; mv {1} {0}", config.display(), edited.display());
        command.env("FAULT_MEET", act).env("FAULT_THEN", format!("{later}:kill"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        done(&workspace, &["check"]);
        assert_eq!(workspace.read("config/storage-config.yaml"), format!("{text}# a last edit\n"), "{later}");
    }
}

/// There was no configuration, and somebody makes one in the instant of the cutover.
#[test]
fn l17_a_configuration_that_is_made_meanwhile_is_not_written_over() {
    let server = Postgres::start();
    let workspace = in_sqlite();
    fs::remove_file(workspace.path("config/storage-config.yaml")).unwrap_or_default();
    let mut command = workspace.command(["migrate", "database", "--engine", "postgresql", "--yes"]);
    command.env("DATABASE_URL", server.url());
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:meet").env("FAULT_PATH", "/config/storage-config.yaml");
    let config = workspace.path("config/storage-config.yaml");
    command.env("FAULT_MEET", format!("echo 'storage: {{monitoring: {{interval: 77}}}}' > {}", config.display()));
    let said = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && err.contains("made meanwhile"), "{err}");
    assert_eq!(workspace.read("config/storage-config.yaml"), "storage: {monitoring: {interval: 77}}\n");
    assert_eq!(workspace.status()["current_backend"], "database");
}

#[test]
fn l17_a_configuration_that_came_out_and_is_not_in_force_is_named() {
    let workspace = in_sqlite();
    workspace.write("config/.milescale-switch-1-engine", "storage: {monitoring: {interval: 77}}\n");
    done(&workspace, &["check"]);
    let said = workspace.run(["doctor"]);
    assert!(said.code == 1 && said.out.contains("came-out") && said.out.contains("is not in force"), "{said:?}");
}

/// A migration that died cannot be undone while nobody knows where its target is: that is said, and done once it is known.
#[test]
fn l17_what_cannot_be_recovered_is_said_and_no_success() {
    let server = Postgres::start();
    let (workspace, text) = beside(&server);
    die_between_configuration_and_marker(&workspace);
    workspace.write("config/storage-config.yaml", "storage: {monitoring: {interval: [\n");
    let before = workspace.run(["doctor"]);
    assert!(before.code == 1 && before.out.contains("Mend config/storage-config.yaml first"), "{before:?}");
    let said = workspace.run(["check"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("cannot be recovered") && said.err.contains("storage.database.url"), "{said:?}");
    assert!(workspace.run(["doctor"]).out.contains("cannot be recovered"));
    workspace.write("config/storage-config.yaml", &text);
    done(&workspace, &["check"]);
    assert_eq!(workspace.read("config/storage-config.yaml"), text);
    assert!(workspace.run(["doctor"]).out.contains("no migration is under way"));
}

/// A program has it open and writes into it in place, around the exchange and later.
#[test]
fn l17_what_is_written_into_a_replaced_configuration_is_named() {
    let server = Postgres::start();
    let (workspace, text) = beside(&server);
    let config = workspace.path("config/storage-config.yaml");
    let mut open = OpenOptions::new().append(true).open(&config).unwrap();
    done(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    let is_named = || workspace.run(["doctor"]).out.contains("a program that had it open");
    assert!(!is_named(), "nobody has written into it");
    open.write_all(b"# written late\n").unwrap();
    drop(open);
    let named = until("it is found once it stands still", || {
        done(&workspace, &["check"]);
        came_out(&workspace).pop()
    });
    assert_eq!(named, format!("{text}# written late\n"));
    assert!(is_named());
    assert!(!workspace.read("config/storage-config.yaml").contains("late"));
}

/// Half of an edit can be read as well: it is waited for.
#[test]
fn l17_an_edit_that_is_written_in_two_halves_is_whole() {
    let server = Postgres::start();
    let (workspace, text) = beside(&server);
    let out = workspace.path("config/.milescale-switch-1-engine");
    let act = format!(
        "exec 9>>{}; echo '# one half' >&9; (sleep 0.1; echo '# the other' >&9) >/dev/null 2>&1 &",
        out.display()
    );
    assert!(moves_beside(&workspace, "meetafter", &act));
    let expected = text.replace("type: sqlite", "type: postgresql");
    assert_eq!(workspace.read("config/storage-config.yaml"), format!("{expected}# one half\n# the other\n"));
}

/// Somebody saves an edit at the exchange, and another one is made of what stands there while that is not in force.
#[test]
fn l17_an_edit_that_a_second_one_has_not_seen_is_named() {
    let server = Postgres::start();
    let (workspace, text) = beside(&server);
    let config = workspace.path("config/storage-config.yaml");
    let config = config.display();
    let later = format!("(sleep 0.2; echo '# second' >> {config}) >/dev/null 2>&1 &");
    assert!(moves_beside(&workspace, "meet", &format!("echo '# first' >> {config}; {later}")));
    let expected = text.replace("type: sqlite", "type: postgresql");
    assert_eq!(workspace.read("config/storage-config.yaml"), format!("{expected}# second\n"));
    assert_eq!(came_out(&workspace), [format!("{text}# first\n")]);
}

/// What cannot be read as a configuration could not be in force either: it is set aside, and stops neither move nor undo.
#[test]
fn l17_an_edit_that_cannot_be_read_is_set_aside() {
    let server = Postgres::start();
    let (workspace, _) = beside(&server);
    let (bad, config) = ("storage: [\n", workspace.path("config/storage-config.yaml"));
    assert!(moves_beside(&workspace, "meet", &format!("printf 'storage: [\\n' > {}", config.display())));
    assert_eq!(workspace.status()["current_backend"], "database");
    assert_eq!(came_out(&workspace), [bad]);
    assert!(workspace.run(["doctor"]).out.contains("came-out"));
    done(&workspace, &["migrate", "file", "--yes"]);
}
