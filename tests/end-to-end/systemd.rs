//! The shipped unit under a real systemd, in a throw-away box of namespaces.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{BINARY, repository};

/// Run in the box as root. Each line that it prints is one fact.
const SCRIPT: &str = r#"
set -u
unit=milescale@srv-plans.service
show() { systemctl show -p "$1" --value "$unit"; }
wait_for() { # what command...
    what=$1; shift
    for _ in $(seq 300); do "$@" && return; sleep 0.1; done
    echo "waited for=$what"; journalctl --no-pager -n 20 2>/dev/null; systemctl status --no-pager "$unit"; exit 1
}
restarted() { [ "$(show NRestarts)" = "$1" ] && [ "$(show ActiveState)" = active ]; }
active() { [ "$(show ActiveState)" = active ]; }
counted() { grep -q "\"milestone_count\":$1," /srv/plans/.milestones/.milescale/status.json; }
install -m 755 /run/box/milescale /usr/local/bin/milescale
mkdir -p /srv/plans && milescale --workspace /srv/plans init >/dev/null
echo "start=$(systemctl start "$unit"; echo $?)"
echo "active=$(show ActiveState) $(show SubState)"
echo "status=$(show StatusText)"
echo "cycles when ready=$(grep -c scale_status /srv/plans/.milestones/logs/scale-events.jsonl)"
echo "id: a" > /srv/plans/.milestones/active/a.yaml
wait_for "a change to show" counted 1
mv /srv/plans/.milestones /srv/plans/away; mkdir -p /srv/plans/.milestones/active
for n in 1 2 3; do echo "id: $n" > /srv/plans/.milestones/active/$n.yaml; done
wait_for "a checkout to show" counted 3
echo "hardened=follows a checkout"
kill -KILL "$(show MainPID)"
wait_for "a restart after a kill" restarted 1
echo "killed=restarted"
before=$(show MainPID)
kill -STOP "$before"
wait_for "a restart by the watchdog" restarted 2
[ "$(show MainPID)" != "$before" ] && echo "hung=restarted"
echo "reload=$(systemctl reload "$unit"; echo $?)"
wait_for "the end of the reload" active
echo "after reload=$(show ActiveState)"
echo "environment=$(tr '\0' '\n' <"/proc/$(show MainPID)/environ" | grep CONFIGURATION_DIRECTORY)"
echo "core=$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$(show MainPID)/limits")"
echo "noexec=$(nsenter -m -t "$(show MainPID)" /bin/true 2>&1 | grep -c 'Permission denied')"
systemctl stop "$unit"
echo "stopped=$(show ActiveState) $(show Result)"
# Somebody's own, by the unit that runs as somebody: no word is needed.
chown -R 1000:1000 /srv/plans
mkdir -p "/run/systemd/system/$unit.d" && printf '[Service]\nUser=1000\n' >"/run/systemd/system/$unit.d/user.conf"
systemctl daemon-reload
echo "start as a person=$(systemctl start "$unit"; echo $?) $(show ActiveState)"
systemctl stop "$unit"
mv /srv/plans/.milestones /srv/plans/gone
systemctl start "$unit" 2>/dev/null
echo "without workspace=$(show ActiveState) asserted $(systemctl show -p AssertResult --value "$unit")"
"#;

#[test]
fn ready_killed_hung_reloaded_and_stopped_under_a_real_systemd_needs_root() {
    let folder = tempfile::tempdir().unwrap();
    let in_box = |name: &str| folder.path().join(name);
    let fast = in_box("units/milescale@.service.d");
    fs::create_dir_all(&fast).unwrap();
    fs::write(fast.join("fast.conf"), "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\nRestartSec=100ms\n").unwrap();
    fs::copy(repository().join("systemd/milescale@.service"), in_box("units/milescale@.service")).unwrap();
    fs::copy(BINARY, in_box("milescale")).unwrap();
    fs::set_permissions(in_box("milescale"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(in_box("script.sh"), SCRIPT).unwrap();
    let output = Command::new(repository().join("tests/faults/sdbox")).arg(folder.path()).arg("100").output().unwrap();
    let out = fs::read_to_string(in_box("out.txt")).unwrap_or_default();
    let console = fs::read_to_string(in_box("console.txt")).unwrap_or_default();
    let facts: HashMap<&str, &str> = out.lines().filter_map(|line| line.split_once('=')).collect();
    for (key, value) in [
        ("start", "0"),
        ("active", "active running"),
        ("status", "optimal: file, 0 milestones"),
        ("cycles when ready", "1"),
        ("hardened", "follows a checkout"),
        ("killed", "restarted"),
        ("hung", "restarted"),
        ("reload", "0"),
        ("after reload", "active"),
        ("environment", "CONFIGURATION_DIRECTORY=/etc/milescale"),
        ("core", "0 0"),
        ("noexec", "1"),
        ("stopped", "inactive success"),
        ("start as a person", "0 active"),
        ("without workspace", "inactive asserted no"),
    ] {
        assert_eq!(facts.get(key), Some(&value), "{key}\n{out}\n{console}\n{output:?}");
    }
}

#[test]
fn the_unit_is_hardened() {
    let unit = repository().join("systemd/milescale@.service");
    let output =
        Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let level =
        text.lines().find_map(|line| line.split_once("exposure level for ")).unwrap_or_else(|| panic!("{output:?}")).1;
    let number: f64 = level.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("exposure level {number}");
    assert!(number <= 1.5, "{text}");
}

#[test]
fn the_launchd_plist_is_one() {
    let plist = repository().join("systemd/org.milescale.milescale.plist");
    let script = "import plistlib, sys; it = plistlib.load(open(sys.argv[1], 'rb')); assert it['ProgramArguments'][-1] == 'run', it";
    assert!(Command::new("python3").args(["-c", script]).arg(plist).status().unwrap().success());
}
