//! What stands between milescale and a server of PostgreSQL, and does something to its COMMITs.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::{PASSWORD, Postgres};

/// What becomes of the COMMIT of a transaction that may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCommit {
    /// It and its answer pass.
    Passes,
    /// It passes, and the connection ends in place of its answer.
    LosesAnswer,
    /// It reaches the server so much later, and its answer nobody.
    IsLate(Duration),
    /// Both connections end before it.
    IsLost,
}

/// A proxy on a port of the loopback; it goes with the test's process.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    on_commit: Arc<Mutex<OnCommit>>,
}

/// The number of a start-up that asks for no encryption.
const PLAIN_START: [u8; 4] = [0, 3, 0, 0];

impl Proxy {
    /// A proxy before a server; for now, COMMITs pass.
    pub fn start(server: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), server.port());
        let on_commit = Arc::new(Mutex::new(OnCommit::Passes));
        let now = Arc::clone(&on_commit);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let now = Arc::clone(&now);
                thread::spawn(move || pass(client, server, &now));
            }
        });
        Self { port, on_commit }
    }

    /// Says what becomes of COMMITs from now on.
    pub fn set(&self, on_commit: OnCommit) {
        *self.on_commit.lock().unwrap() = on_commit;
    }

    /// The URL of the database `plans` behind it, as `ada`.
    pub fn url(&self) -> String {
        format!("postgresql://ada:{PASSWORD}@127.0.0.1:{}/plans?sslmode=disable", self.port)
    }
}

/// Passes messages until one side ends.
fn pass(mut client: TcpStream, mut server: TcpStream, on_commit: &Mutex<OnCommit>) {
    let (is_mute, has_answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let (mute, answered) = (Arc::clone(&is_mute), Arc::clone(&has_answered));
    thread::spawn(move || {
        let mut buffer = [0; 16384];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if mute.load(Ordering::SeqCst) {
                answered.store(true, Ordering::SeqCst);
                break;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut is_started, mut only_reads) = (false, false);
    while let Ok(message) = read_message(&mut client, is_started) {
        is_started |= message.get(4..8) == Some(&PLAIN_START);
        let statement = if is_started && message[0] == b'Q' { &message[5..] } else { &[] };
        if statement.starts_with(b"BEGIN") {
            only_reads = statement.starts_with(b"BEGIN READ ONLY");
        }
        let is_commit = statement.starts_with(b"COMMIT") && !only_reads;
        let now = if is_commit { *on_commit.lock().unwrap() } else { OnCommit::Passes };
        if let OnCommit::IsLost = now {
            break;
        }
        is_mute.store(now != OnCommit::Passes, Ordering::SeqCst);
        if let OnCommit::IsLate(late) = now {
            thread::sleep(late);
        }
        if server.write_all(&message).is_err() {
            break;
        }
        if now != OnCommit::Passes {
            while !has_answered.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

/// One message of a client; the first has no letter before its length.
fn read_message(client: &mut TcpStream, is_started: bool) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; if is_started { 5 } else { 4 }];
    client.read_exact(&mut message)?;
    let at = message.len() - 4;
    let length = u32::from_be_bytes(message[at..].try_into().unwrap()) as usize;
    message.resize(at + length, 0);
    client.read_exact(&mut message[at + 4..])?;
    Ok(message)
}
