//! What a server may send: messages of a size that its kind has, and no more than so much in answer to one question. The driver
//! takes whatever comes into memory.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::waits::Meter;

/// Bytes of a row: a document as JSON, its text, and what is beside them.
const ROW: usize = (48 << 20) + (1 << 20);

/// Columns of a row. The driver keeps several times of each what it is on its way.
const COLUMNS: u16 = 64;

/// What the driver has of each message beside its bytes.
const MESSAGE: usize = 96;

/// Bytes of a message that describes columns.
const DESCRIPTION: usize = 1 << 20;

/// Bytes of any other message: an error, a notice, a setting.
const OTHER: usize = 64 << 10;

/// Bytes of all that is sent before the server is ready for the next question.
const ANSWER: usize = 256 << 20;

/// Bytes of what is no part of an answer, before the server is ready for the next question: notices, settings, notifications. The
/// driver keeps the settings.
const ASIDE: usize = 4 << 20;

/// Bytes of a message's head: its kind, and its length, which counts itself.
const HEAD: usize = 5;

/// What a client sends that asks for TLS.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How the first record of TLS begins.
const HANDSHAKE: u8 = 0x16;

/// Where in what the server sends the reading stands.
#[derive(Debug)]
enum State {
    /// Nothing was sent to it yet.
    Silent,
    /// It says in one byte whether it speaks TLS.
    IsAsked,
    /// What comes is TLS, and looked at once it is read.
    Encrypted,
    /// In the head of a message.
    Head { head: [u8; HEAD], there: usize },
    /// In a message, of which so much is left.
    Body { left: usize },
    /// In the number of columns of a row, of which so much is left.
    Columns { there: Option<u8>, left: usize },
    /// In a description of columns, which is kept until it is whole.
    Description { is_of_columns: bool, left: usize, there: Vec<u8> },
}

/// Looks at what a server sends.
#[derive(Debug)]
struct Messages {
    state: State,
    /// Bytes since the server was ready last.
    answer: usize,
    /// Those of them that are no part of the answer.
    aside: usize,
    /// Counts what is an answer; notices and settings are none, however many come.
    meter: Meter,
}

impl Messages {
    fn new(state: State, meter: Meter) -> Self {
        Self { state, answer: 0, aside: 0, meter }
    }

    /// What is sent first says what comes back.
    fn sent(&mut self, bytes: &[u8]) {
        if let State::Silent = self.state {
            self.state = match bytes {
                bytes if bytes.starts_with(&ASKS_FOR_TLS) => State::IsAsked,
                [HANDSHAKE, ..] => State::Encrypted,
                _ => State::Head { head: [0; HEAD], there: 0 },
            };
        }
    }

    /// Takes in what has come.
    ///
    /// # Errors
    /// Where a message is larger than one of its kind may be, before it is read.
    fn came(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Encrypted => return Ok(()),
                State::Silent | State::IsAsked => {
                    let is_tls = bytes[0] == b'S';
                    // An old server answers with an error: a message.
                    let is_message = bytes[0] == b'E';
                    bytes = if is_message { bytes } else { &bytes[1..] };
                    self.state = if is_tls { State::Encrypted } else { State::Head { head: [0; HEAD], there: 0 } };
                }
                State::Head { head, there } => {
                    let taken = (HEAD - *there).min(bytes.len());
                    head[*there..*there + taken].copy_from_slice(&bytes[..taken]);
                    *there += taken;
                    bytes = &bytes[taken..];
                    if *there == HEAD {
                        let head = *head;
                        self.began(head)?;
                    }
                }
                State::Description { is_of_columns, left, there } => {
                    let taken = (*left).min(bytes.len());
                    there.extend_from_slice(&bytes[..taken]);
                    *left -= taken;
                    bytes = &bytes[taken..];
                    if *left == 0 {
                        check_types(there, *is_of_columns)?;
                        self.state = State::Head { head: [0; HEAD], there: 0 };
                    }
                }
                State::Columns { there, left } => {
                    let (byte, before) = (bytes[0], *there);
                    bytes = &bytes[1..];
                    let left = *left - 1;
                    self.state = match before {
                        None => State::Columns { there: Some(byte), left },
                        Some(before) if u16::from_be_bytes([before, byte]) > COLUMNS => {
                            return Err(too_much(&format!("a row of more than {COLUMNS} columns")));
                        }
                        Some(_) if left == 0 => State::Head { head: [0; HEAD], there: 0 },
                        Some(_) => State::Body { left },
                    };
                }
                State::Body { left } => {
                    let taken = (*left).min(bytes.len());
                    *left -= taken;
                    bytes = &bytes[taken..];
                    if *left == 0 {
                        self.state = State::Head { head: [0; HEAD], there: 0 };
                    }
                }
            }
        }
        Ok(())
    }

    fn began(&mut self, [kind, length @ ..]: [u8; HEAD]) -> io::Result<()> {
        let length = u32::from_be_bytes(length) as usize;
        let most = match kind {
            b'D' | b'd' => ROW,
            b'T' | b't' => DESCRIPTION,
            _ => OTHER,
        };
        let left = length.checked_sub(4).filter(|left| *left <= most);
        let left = left.ok_or_else(|| too_much(&format!("a message of {length} bytes, where {most} are the most")))?;
        let is_aside = matches!(kind, b'N' | b'S' | b'A');
        (self.answer, self.aside) = match kind {
            b'Z' => (0, 0),
            _ => (self.answer + MESSAGE + left, self.aside + usize::from(is_aside) * (MESSAGE + left)),
        };
        if self.aside > ASIDE {
            return Err(too_much(&format!("more than {} MiB of notices and settings in one answer", ASIDE >> 20)));
        }
        if self.answer > ANSWER {
            return Err(too_much(&format!("more than {} MiB in one answer", ANSWER >> 20)));
        }
        if !is_aside {
            self.meter.add(HEAD + left);
        }
        self.state = match kind {
            _ if left == 0 => State::Head { head: [0; HEAD], there: 0 },
            b'D' if left >= 2 => State::Columns { there: None, left },
            b'T' | b't' => State::Description { is_of_columns: kind == b'T', left, there: Vec::new() },
            _ => State::Body { left },
        };
        Ok(())
    }
}

/// The number of the first type that is not the server's own. The driver asks a server what others are, and what those are made of,
/// for as long as it answers.
const FIRST_OF_OTHERS: u32 = 16_384;

/// Whether each type in a description is one of the server's own.
fn check_types(description: &[u8], is_of_columns: bool) -> io::Result<()> {
    let damaged = || too_much("a description that is damaged");
    let (count, mut rest) = description.split_first_chunk::<2>().ok_or_else(damaged)?;
    for _ in 0..u16::from_be_bytes(*count) {
        if is_of_columns {
            // The name; then the table's number and the column's.
            let end = memchr::memchr(0, rest).ok_or_else(damaged)?;
            rest = rest.get(end + 1 + 6..).ok_or_else(damaged)?;
        }
        let (number, after) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let number = u32::from_be_bytes(*number);
        if number >= FIRST_OF_OTHERS {
            return Err(too_much(&format!("a value of the type {number}, which is not its own and was not asked for")));
        }
        // The type's size and modifier, and the format.
        rest = if is_of_columns { after.get(8..).ok_or_else(damaged)? } else { after };
    }
    Ok(())
}

fn too_much(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}; it is not heard any more"))
}

/// A stream that ends where the server sends too much.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    messages: Messages,
}

impl<S> Bounded<S> {
    /// Of a connection on which nothing was said yet.
    pub(super) fn new(stream: S, meter: Meter) -> Self {
        Self { stream, messages: Messages::new(State::Silent, meter) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let came = self.messages.came(&buffer.filled()[before..]);
        if let Err(error) = &came {
            // Whoever waits for an answer is told that the connection is closed, and no more.
            self.messages.meter.refuse(error.to_string());
        }
        Poll::Ready(came)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.messages.sent(bytes);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Bounded<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// TLS of which what is read is looked at.
#[derive(Clone)]
pub(super) struct BoundedTls<T> {
    pub(super) tls: T,
    pub(super) meter: Meter,
}

impl<S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for BoundedTls<T>
where
    T::TlsConnect: TlsConnect<S, Stream = T::Stream>,
    <T::TlsConnect as TlsConnect<S>>::Future: Send + 'static,
{
    type Stream = Bounded<T::Stream>;
    type TlsConnect = BoundedTls<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        let meter = self.meter.clone();
        self.tls.make_tls_connect(domain).map(|tls| BoundedTls { tls, meter })
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for BoundedTls<T>
where
    T::Future: Send + 'static,
{
    type Stream = Bounded<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let (connecting, meter) = (self.tls.connect(stream), self.meter);
        Box::pin(async move { connecting.await.map(|stream| Bounded::new(stream, meter)) })
    }
}

#[cfg(test)]
mod tests {
    use super::{ANSWER, ASIDE, HEAD, Messages, Meter, OTHER, ROW, State};
    use proptest::prelude::*;

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let counted = u32::try_from(length + 4).unwrap();
        [&[kind][..], &counted.to_be_bytes(), &vec![0; length]].concat()
    }

    fn plain() -> Messages {
        let mut messages = Messages::new(State::Silent, Meter::default());
        messages.sent(b"\0\0\0\x09\0\x03\0\0\0");
        messages
    }

    #[test]
    fn a_message_has_the_size_of_its_kind_at_most() {
        for (kind, most) in [(b'D', ROW), (b'E', OTHER), (b'S', OTHER), (b'?', OTHER)] {
            assert!(plain().came(&message(kind, most)).is_ok(), "{kind}");
            let mut head = message(kind, 0);
            head[1..5].copy_from_slice(&u32::try_from(most + 5).unwrap().to_be_bytes());
            assert!(plain().came(&head).unwrap_err().to_string().contains("the server sent a message"), "{kind}");
        }
        assert!(plain().came(b"D\0\0\0\x03").is_err(), "shorter than its own length");
    }

    #[test]
    fn a_type_that_the_driver_would_ask_about_is_not_heard() {
        let columns = |number: u32| {
            let column = [&b"name\0"[..], &[0; 6], &number.to_be_bytes(), &[0; 8]].concat();
            [&[0, 2][..], &column, &column].concat()
        };
        for (body, is_heard) in [(columns(25), true), (columns(16_384), false), (b"\0\x01name\0".to_vec(), false)] {
            let message = [&b"T"[..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), &body].concat();
            for cut in [0, 1, 7, message.len() - 1] {
                let mut messages = plain();
                let came = messages.came(&message[..cut]).and_then(|()| messages.came(&message[cut..]));
                assert_eq!(came.is_ok(), is_heard, "{cut}: {message:?}");
            }
        }
        let parameters = [&b"t\0\0\0\x0a\0\x01"[..], &20_000_u32.to_be_bytes()].concat();
        assert!(plain().came(&parameters).is_err());
    }

    #[test]
    fn notices_are_no_sign_that_an_answer_comes() {
        let mut messages = plain();
        messages.came(&message(b'N', 100)).unwrap();
        messages.came(&message(b'S', 100)).unwrap();
        assert_eq!(messages.meter.moved(), 0);
        messages.came(&message(b'D', 100)).unwrap();
        assert!(messages.meter.moved() > 0);
    }

    #[test]
    fn an_answer_is_bounded_and_the_next_one_begins_anew() {
        let (mut messages, row) = (plain(), message(b'D', 1 << 20));
        for _ in 0..3 {
            for _ in 0..(ANSWER >> 20) - 1 {
                messages.came(&row).unwrap();
            }
            messages.came(&message(b'Z', 1)).unwrap();
        }
        let error = (0..=(ANSWER >> 20)).find_map(|_| messages.came(&row).err()).unwrap();
        assert!(error.to_string().contains("in one answer"), "{error}");
    }

    #[test]
    fn settings_and_notices_are_bounded_more_closely() {
        let (mut messages, setting) = (plain(), message(b'S', 32 << 10));
        let came: Vec<bool> = (0..200).map(|_| messages.came(&setting).is_ok()).collect();
        assert_eq!(came.iter().filter(|it| **it).count(), ASIDE / (HEAD + (32 << 10)));
    }

    #[test]
    fn what_is_encrypted_is_looked_at_later() {
        for (answer, is_looked_at) in
            [(&b"S\xff\xff\xff\xff\xff\xff"[..], false), (b"NE\xff\xff\xff\xff", true), (b"E\xff\xff\xff\xff", true)]
        {
            let mut messages = Messages::new(State::Silent, Meter::default());
            messages.sent(&super::ASKS_FOR_TLS);
            assert_eq!(messages.came(answer).is_err(), is_looked_at, "{answer:?}");
        }
        let mut direct = Messages::new(State::Silent, Meter::default());
        direct.sent(&[super::HANDSHAKE, 3, 1]);
        assert!(direct.came(&[0xff; 40]).is_ok());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_what_pieces_bytes_come(
            lengths in prop::collection::vec(0..300_usize, 1..20),
            at in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            bad in any::<bool>(),
        ) {
            let mut bytes: Vec<u8> = lengths.iter().flat_map(|length| message(b'S', *length)).collect();
            if bad {
                bytes.extend(b"E\xff\xff\xff\xff");
            }
            let mut ends: Vec<usize> = at.iter().map(|it| it.index(bytes.len())).chain([bytes.len()]).collect();
            ends.sort_unstable();
            let (mut messages, mut from) = (plain(), 0);
            let results: Vec<bool> = ends.iter().map(|end| {
                let came = messages.came(&bytes[from..*end]).is_ok();
                from = *end;
                came
            }).collect();
            prop_assert_eq!(results.iter().all(|it| *it), !bad);
        }
    }
}
