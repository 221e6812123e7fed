//! COMMITs without an answer.

use std::process::Stdio;
use std::time::Duration;

use milescale_testkit::{OnCommit, Proxy, until};

use super::{Plans, configure, digest, move_to_server, put};

/// A workspace on a server behind a proxy, with one milestone that somebody has changed since milescale wrote it.
fn behind_a_proxy() -> (Plans, Proxy, String) {
    let plans = Plans::new();
    let proxy = Proxy::start(&plans.server);
    let one = plans.workspace("one");
    configure(&one, &proxy.url());
    let said = move_to_server(&one);
    assert_eq!(said.code, 0, "{said:?}");
    let seen = digest(&one, "m1");
    let said = put(&one, "m1", "title: T1\n", Some(&seen));
    assert_eq!(said.code, 0, "{said:?}");
    plans.psql("UPDATE milestones SET data = '{\"title\": \"of somebody\"}' WHERE id = 'm1'");
    let seen = digest(&one, "m1");
    (plans, proxy, seen)
}

#[test]
fn l09_puts_that_die_at_any_moment_leave_the_chain_whole() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    let text = one.path("draft");
    std::fs::write(&text, "title: x\n").unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (one, text) = (&one, &text);
            scope.spawn(move || {
                for number in 0..15 {
                    let mut command = one.command(["milestone", "put", &format!("q-{writer}-{number}")]);
                    command.arg(text).stdout(Stdio::null()).stderr(Stdio::null());
                    let mut child = command.spawn().unwrap();
                    std::thread::sleep(Duration::from_millis(20 + 7 * number));
                    let _ = child.kill();
                    child.wait().unwrap();
                }
            });
        }
    });
    // No kill has left a token on the server that the list does not have.
    let said = put(&one, "last", "title: x\n", None);
    assert_eq!(said.code, 0, "{said:?}");
    let said = one.run(["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(plans.psql("SELECT count(*) > 2 FROM milescale_tokens") == "t");
}

fn title(plans: &Plans) -> String {
    plans.psql("SELECT data->>'title' FROM milestones WHERE id = 'm1'")
}

#[test]
fn l09_a_commit_that_never_arrived_is_not_taken_for_written() {
    let (plans, proxy, seen) = behind_a_proxy();
    let one = plans.workspace("one");
    proxy.set(OnCommit::IsLost);
    let said = put(&one, "m1", "title: T1\n", Some(&seen));
    assert!(said.code == 1 && said.out.is_empty(), "{said:?}");
    assert!(said.err.contains("nothing was written") || said.err.contains("not known"), "{said:?}");
    assert_eq!(title(&plans), "of somebody");
    proxy.set(OnCommit::Passes);
    assert_eq!(put(&one, "m1", "title: T1\n", Some(&seen)).code, 0);
}

#[test]
fn l09_a_commit_whose_answer_is_lost_is_told_by_its_token() {
    let (plans, proxy, seen) = behind_a_proxy();
    let one = plans.workspace("one");
    proxy.set(OnCommit::LosesAnswer);
    let said = put(&one, "m1", "title: T2\n", Some(&seen));
    assert_eq!((said.code, title(&plans).as_str()), (0, "T2"), "{said:?}");
    // One that is still under way is waited for.
    proxy.set(OnCommit::IsLate(Duration::from_millis(1500)));
    let seen = digest(&one, "m1");
    let said = put(&one, "m1", "title: T3\n", Some(&seen));
    assert_eq!((said.code, title(&plans).as_str()), (0, "T3"), "{said:?}");
}

#[test]
fn l09_a_commit_that_comes_after_all_patience_is_unknown_and_says_what_to_do() {
    let (plans, proxy, seen) = behind_a_proxy();
    let one = plans.workspace("one");
    proxy.set(OnCommit::IsLate(Duration::from_secs(9)));
    let said = put(&one, "m1", "title: T4\n", Some(&seen));
    assert!(said.code == 1 && said.out.is_empty(), "{said:?}");
    let now = title(&plans);
    if said.err.contains("not known") {
        assert!(said.err.contains("milescale milestone show"), "{said:?}");
        assert_eq!(now, "of somebody");
        until("the late COMMIT", || (title(&plans) == "T4").then_some(()));
    } else {
        // The server has ended the transaction meanwhile, and so it never comes.
        assert!(said.err.contains("nothing was written"), "{said:?}");
        std::thread::sleep(Duration::from_secs(8));
        assert_eq!(title(&plans), "of somebody");
    }
    proxy.set(OnCommit::Passes);
    let seen = digest(&one, "m1");
    assert_eq!(put(&one, "m1", "title: T5\n", Some(&seen)).code, 0, "the chain goes on");
}
