//! The list of tokens that this workspace has drawn for its writes on shared servers (`.milescale/tokens`).
//!
//! A text of lines, each complete in itself, so that a torn one costs nothing but itself:
//!
//! ```text
//! milescale tokens, format 1
//! + CHAIN TOKEN             drawn; on the disk before the transaction begins
//! = CHAIN NUMBER TOKEN      known to be on the server
//! @ CHAIN PLACE             where that chain is, for display
//! * CHAIN SCHEMA            the chain of the one table that is in use or an old store, and its schema; the last such line counts
//! ```
//!
//! Appending and rewriting happen under a short lock. Readers need none: the file only grows, or is replaced whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use milescale_core::chain::{Chain, Confirming, Link, Token};

use crate::Workspace;
use crate::durable;
use crate::error::{Problem, StoreError};
use crate::jsonl;
use crate::lock::{self, Held, Share};
use crate::random;
use crate::read::read_regular;

const HEAD: &str = "milescale tokens, format 1";

/// Tokens of one chain that stay at least.
pub const KEPT: usize = 4096;

/// A longer file is written anew without what is not needed any more.
const LONG: u64 = 320 << 10;

/// The most that is read: chains are few, and each is pruned.
const LIMIT: u64 = 16 << 20;

/// How long another process may change the list.
const PATIENCE: Duration = Duration::from_secs(10);

/// The list of one workspace.
#[derive(Debug, Clone)]
pub struct Tokens {
    workspace: Workspace,
}

/// The one of several tables that a workspace uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Its chain.
    pub chain: String,
    /// Its schema: what a search path may come to name instead of it has another one.
    pub schema: String,
}

/// What the file says.
#[derive(Debug, Default)]
pub struct Listed {
    chains: BTreeMap<String, Chain>,
    places: BTreeMap<String, String>,
    /// The table that is in use or an old store, where that was noted.
    used: Option<Used>,
    /// There is no head, or a death has torn it: the list is to be written anew.
    has_no_head: bool,
}

impl Listed {
    fn of(text: &str) -> io::Result<Self> {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let mut listed = Self { has_no_head: head != HEAD, ..Self::default() };
        // A power cut can leave a part of it, or zeros in its place; a token of it was never used then.
        if listed.has_no_head && !HEAD.starts_with(head) && !head.contains('\0') {
            let message = format!("its first line is not {HEAD:?}: a newer milescale may have written it");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        for line in lines {
            listed.take(line);
        }
        Ok(listed)
    }

    /// Takes in one line; one that is torn says nothing.
    fn take(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        let (chain, rest) = rest.split_once(' ')?;
        match kind {
            "+" => self.chain(chain).add(rest.parse().ok()?),
            "=" => {
                let (number, token) = rest.split_once(' ')?;
                let link = Link { number: number.parse().ok()?, token: token.parse().ok()? };
                self.chain(chain).note(link);
            }
            "*" => self.used = Some(Used { chain: chain.to_owned(), schema: rest.to_owned() }),
            "@" => drop(self.places.insert(chain.to_owned(), rest.to_owned())),
            _ => {}
        }
        Some(())
    }

    fn chain(&mut self, name: &str) -> &mut Chain {
        self.chains.entry(name.to_owned()).or_default()
    }

    /// What is known of a chain.
    pub fn of_chain(&self, name: &str) -> Chain {
        self.chains.get(name).cloned().unwrap_or_default()
    }

    /// The last confirmed link of a chain at this place.
    pub fn confirmed_at(&self, place: &str) -> Option<Link> {
        let mut there = self.places.iter().filter(|(_, known)| *known == place);
        there.find_map(|(chain, _)| self.chains.get(chain)?.confirmed())
    }

    /// The places of all chains that are known to be on a server.
    pub fn confirmed_places(&self) -> Vec<&str> {
        let confirmed = self.chains.iter().filter(|(_, chain)| chain.confirmed().is_some());
        let mut places: Vec<&str> = confirmed.filter_map(|(name, _)| Some(self.places.get(name)?.as_str())).collect();
        places.dedup();
        places
    }

    /// The table that is in use or an old store, and its place, where that was noted.
    pub fn used(&self) -> Option<(&Used, &str)> {
        let used = self.used.as_ref()?;
        Some((used, self.places.get(&used.chain).map_or("elsewhere", String::as_str)))
    }

    fn pruned(&mut self) -> String {
        let mut text = format!("{HEAD}\n");
        for (name, chain) in &mut self.chains {
            chain.prune(KEPT);
            for token in chain.tokens() {
                let _ = writeln!(text, "+ {name} {token}");
            }
            if let Some(Link { number, token }) = chain.confirmed() {
                let _ = writeln!(text, "= {name} {number} {token}");
            }
            if let Some(place) = self.places.get(name) {
                let _ = writeln!(text, "@ {name} {place}");
            }
        }
        if let Some(used) = &self.used {
            let _ = writeln!(text, "* {} {}", used.chain, used.schema);
        }
        text
    }
}

impl Tokens {
    /// That of a workspace; nothing is read yet.
    pub fn of(workspace: &Workspace) -> Self {
        Self { workspace: workspace.clone() }
    }

    fn failed(&self, error: &io::Error) -> StoreError {
        let place = self.workspace.shown(&self.workspace.tokens());
        StoreError::io(place, "the list of tokens cannot be read or written; nothing was written", error)
    }

    fn lock(&self) -> Result<Held, StoreError> {
        let path = self.workspace.tokens_lock();
        let taken = durable::create_own_folder(&self.workspace)
            .and_then(|()| lock::wait_for(&path, Share::Alone, PATIENCE, self.workspace.stop()))
            .map_err(|error| StoreError::io(self.workspace.shown(&path), "it cannot be taken", &error))?;
        taken.ok_or_else(|| {
            let cause = format!("another process holds it for {} s; try again", PATIENCE.as_secs());
            StoreError::new(Problem::Busy, self.workspace.shown(&path), cause)
        })
    }

    /// Reads the list; one that is missing is empty.
    pub fn read(&self) -> Result<Listed, StoreError> {
        let read = || match read_regular(&self.workspace.tokens(), LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Listed::of(""),
            other => Listed::of(&String::from_utf8_lossy(&other?.0)),
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Draws a token for a transaction that is about to begin. It is on the disk once this returns.
    pub fn draw(&self, chain: &str) -> Result<Token, StoreError> {
        let token = random::bytes().map(Token::new).map_err(|error| self.failed(&error))?;
        self.add(chain, token)?;
        Ok(token)
    }

    /// Adds a token to the list, durably.
    pub fn add(&self, chain: &str, token: Token) -> Result<(), StoreError> {
        let _held = self.lock()?;
        let length = self.workspace.tokens().status_of_name().map_or(0, |metadata| metadata.len());
        let line = format!("+ {chain} {token}\n");
        if length == 0 || length > LONG { self.write_anew(self.read()?, &line) } else { self.append(&line) }
    }

    /// Notes a link that is known to be on the server, and where that is. What else is to be done, if anything is.
    pub fn confirm(
        &self,
        (chain, place): (&str, &str),
        link: Link,
        before: Option<Link>,
        checked: Option<Link>,
    ) -> Result<Confirming, StoreError> {
        let _held = self.lock()?;
        let listed = self.read()?;
        let confirming = listed.of_chain(chain).confirming(link, before, checked);
        if confirming == Confirming::Note {
            let mut lines = format!("= {chain} {} {}\n", link.number, link.token);
            if listed.places.get(chain).is_none_or(|known| known != place) {
                let _ = writeln!(lines, "@ {chain} {place}");
            }
            if listed.has_no_head {
                self.write_anew(listed, &lines)?;
            } else {
                self.append(&lines)?;
            }
        }
        Ok(confirming)
    }

    /// Notes the table that is in use or an old store from now on.
    pub fn use_table(&self, used: &Used) -> Result<(), StoreError> {
        let _held = self.lock()?;
        let listed = self.read()?;
        let line = format!("* {} {}\n", used.chain, used.schema);
        match listed.used.as_ref() == Some(used) {
            true => Ok(()),
            false if listed.has_no_head => self.write_anew(listed, &line),
            false => self.append(&line),
        }
    }

    /// Forgets what chains are at a place, but for one.
    pub fn let_go(&self, place: &str, but: &str) -> Result<(), StoreError> {
        let _held = self.lock()?;
        let mut listed = self.read()?;
        let is_left = |(chain, there): (&String, &String)| there == place && chain != but;
        let left: Vec<String> =
            listed.places.iter().filter(|it| is_left(*it)).map(|(chain, _)| chain.clone()).collect();
        if left.is_empty() {
            return Ok(());
        }
        for chain in left {
            listed.chains.remove(&chain);
            listed.places.remove(&chain);
        }
        self.write_anew(listed, "")
    }

    fn append(&self, lines: &str) -> Result<(), StoreError> {
        jsonl::append_durably(&self.workspace.tokens(), lines).map_err(|error| self.failed(&error))
    }

    /// Writes the list whole, without what is not needed any more, and with these lines.
    fn write_anew(&self, mut listed: Listed, lines: &str) -> Result<(), StoreError> {
        let text = listed.pruned() + lines;
        durable::replace(&self.workspace.tokens(), text.as_bytes()).map_err(|error| self.failed(&error))
    }

    /// Forgets all chains: this workspace is another one from now on.
    pub(crate) fn forget(&self) -> io::Result<()> {
        durable::remove(&self.workspace.tokens())
    }

    /// Whether there is a list: something may have been written on a server.
    pub(crate) fn is_there(&self) -> bool {
        self.workspace.tokens().exists()
    }
}

/// The name of a new chain.
pub fn new_chain() -> io::Result<String> {
    random::hexadecimal::<8>()
}

#[cfg(test)]
mod tests {
    use super::{HEAD, KEPT, Tokens};
    use crate::Workspace;
    use milescale_core::chain::{Confirming, Link};
    use std::fmt::Write as _;
    use std::fs;
    use std::io::Write as _;

    #[test]
    fn what_was_drawn_and_confirmed_is_read_again_torn_lines_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let tokens = Tokens::of(&workspace);
        assert!(!tokens.is_there());
        let first = tokens.draw("a").unwrap();
        let link = Link { number: 1, token: first };
        assert_eq!(tokens.confirm(("a", "here"), link, None, None), Ok(Confirming::Note));
        let mut file = fs::File::options().append(true).open(workspace.tokens().path()).unwrap();
        file.write_all(b"= a 7 01\0\0\0").unwrap();
        let second = tokens.draw("a").unwrap();
        let other = tokens.draw("b").unwrap();
        let listed = tokens.read().unwrap();
        assert_eq!(listed.of_chain("a").tokens(), [first, second]);
        assert_eq!(listed.of_chain("b").tokens(), [other]);
        assert_eq!((listed.confirmed_at("here"), listed.confirmed_at("there")), (Some(link), None));
        assert!(fs::read_to_string(workspace.tokens().path()).unwrap().starts_with(HEAD));
        for torn in ["\0\0\0\0", "mileca\0\0\n", "milescale tok", "milescale tokens, format 1", "", "\0\n+ c 7\n"] {
            fs::write(workspace.tokens().path(), torn).unwrap();
            assert!(tokens.read().unwrap().of_chain("a").tokens().is_empty(), "{torn:?}");
            let token = tokens.draw("a").unwrap();
            assert_eq!(tokens.confirm(("a", "here"), Link { number: 1, token }, None, None), Ok(Confirming::Note));
            assert_eq!(tokens.read().unwrap().of_chain("a").tokens(), [token], "{torn:?}");
            assert!(fs::read_to_string(workspace.tokens().path()).unwrap().starts_with(HEAD), "{torn:?}");
        }
        fs::write(workspace.tokens().path(), "milescale tokens, format 2\n").unwrap();
        assert!(tokens.read().unwrap_err().cause.contains("newer milescale"));
    }

    #[test]
    fn a_long_list_is_pruned_and_keeps_what_it_must() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let tokens = Tokens::of(&workspace);
        tokens.draw("a").unwrap();
        let mut text = fs::read_to_string(workspace.tokens().path()).unwrap();
        for number in 0..12_000 {
            let _ = writeln!(text, "+ a {number:032x}");
        }
        let _ = write!(text, "= a 5 {:032x}\n@ a here\n", 11_990);
        fs::write(workspace.tokens().path(), text).unwrap();
        let last = tokens.draw("a").unwrap();
        let chain = tokens.read().unwrap().of_chain("a");
        assert_eq!(chain.tokens().len(), KEPT + 1);
        assert!(chain.knows(last) && chain.confirmed().is_some_and(|link| link.number == 5));
        assert!(fs::metadata(workspace.tokens().path()).unwrap().len() < 300_000);
    }
}
