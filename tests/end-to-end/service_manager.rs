//! What the daemon tells a service manager, read from the socket it is given.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use milescale_testkit::Workspace;

use super::workspace;

struct Manager {
    socket: UnixDatagram,
    said: Vec<String>,
}

impl Manager {
    fn of(workspace: &mut Workspace, watchdog: Duration) -> Self {
        let path = workspace.root().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let path = path.to_str().unwrap().to_owned();
        workspace.environment.push(("NOTIFY_SOCKET".to_owned(), path));
        workspace.environment.push(("WATCHDOG_USEC".to_owned(), watchdog.as_micros().to_string()));
        Self { socket, said: Vec::new() }
    }

    fn until(&mut self, text: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let count =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {text}; {:?}", self.said));
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            self.said.push(message.clone());
            if message.lines().any(|line| line.starts_with(text)) {
                return message;
            }
        }
    }
}

#[test]
fn ready_after_the_first_cycle_status_pings_reloading_and_stopping() {
    let mut workspace = workspace();
    let mut manager = Manager::of(&mut workspace, Duration::from_millis(200));
    let daemon = workspace.daemon_at_once(["--interval", "86400"]);
    let message = manager.until("READY=1");
    assert_eq!(workspace.events_named("scale_status").len(), 1, "not before the first complete cycle");
    assert!(message.contains("STATUS=optimal: file, 0 milestones"), "{message}");
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
    workspace.milestones("m", 30);
    manager.until("STATUS=monitoring: file → hybrid, confidence ");
    daemon.signal("HUP");
    assert!(manager.until("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.until("READY=1");
    assert_eq!(workspace.events_named("scale_status").len(), 2);
    daemon.signal("TERM");
    manager.until("STOPPING=1");
    assert_eq!(daemon.ended().0, 0);
}

#[test]
fn pings_stop_when_the_process_hangs() {
    let mut workspace = workspace();
    let mut manager = Manager::of(&mut workspace, Duration::from_millis(100));
    let daemon = workspace.daemon(["--interval", "86400"]);
    manager.until("WATCHDOG=1");
    daemon.signal("STOP");
    // What was sent before the stop is read first; then the socket stays silent for ten times the limit.
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 4096];
    while manager.socket.recv(&mut buffer).is_ok() {}
    daemon.signal("CONT");
    manager.until("WATCHDOG=1");
}

#[test]
fn a_migration_says_how_far_it_is() {
    let mut workspace = workspace();
    super::recommendation::recommend(&workspace);
    workspace.write("config/storage-config.yaml", "storage: {migration: {auto_migrate: true}}\n");
    let mut manager = Manager::of(&mut workspace, Duration::from_millis(200));
    let daemon = workspace.daemon_at_once(["--interval", "0.2"]);
    manager.until("STATUS=migrating file → hybrid");
    manager.until("STATUS=optimal: hybrid, 36 milestones");
    assert_eq!(daemon.stop().0, 0);
}
