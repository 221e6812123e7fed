//! A server that stops answering at a message of the test's choice: a proxy that keeps its connections open and hands on
//! nothing more.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use milescale_testkit::{PASSWORD, until};

/// The proxy; it goes with the test's process.
pub(super) struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What a client says before nothing more is handed on.
    needle: Mutex<Option<Vec<u8>>>,
    is_silent: AtomicBool,
}

impl Proxy {
    pub(super) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&proxy.state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else { return };
                let (from, to, of) = (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&state));
                thread::spawn(move || hand_on(from, to, &of, true));
                let of = Arc::clone(&state);
                thread::spawn(move || hand_on(server, client, &of, false));
            }
        });
        proxy
    }

    pub(super) fn url(&self) -> String {
        format!("postgresql://ada:{PASSWORD}@127.0.0.1:{}/plans?connect_timeout=2", self.port)
    }

    /// From the next message on that holds this, the server is silent.
    pub(super) fn silence_at(&self, needle: &str) {
        *self.state.needle.lock().unwrap() = Some(needle.as_bytes().to_vec());
    }

    pub(super) fn until_silent(&self) {
        until("the server is silent", || self.state.is_silent.load(Ordering::SeqCst).then_some(()));
    }

    /// New connections are answered again.
    pub(super) fn answer(&self) {
        *self.state.needle.lock().unwrap() = None;
        self.state.is_silent.store(false, Ordering::SeqCst);
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, state: &State, is_client: bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 {
            break;
        }
        let said = &bytes[..count];
        let needle = state.needle.lock().unwrap().clone().filter(|_| is_client);
        if needle.is_some_and(|needle| said.windows(needle.len()).any(|it| it == needle)) {
            state.is_silent.store(true, Ordering::SeqCst);
        }
        if !state.is_silent.load(Ordering::SeqCst) && to.write_all(said).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
