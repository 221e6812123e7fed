//! The chain of tokens by which a workspace knows that nobody else writes its table on a shared server (contract §8).
//!
//! Every writing transaction replaces the token in the table's row by a new one and counts on. A workspace keeps the list
//! of the tokens that it has drawn, and the last link that it knows to be on the server. What follows from the two is
//! said here, as pure functions: the store for PostgreSQL uses them, and the model in the tests explores them.

use std::fmt;
use std::str::FromStr;

/// A number that one transaction draws and no other one has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token([u8; 16]);

impl Token {
    /// The token of these random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

/// A text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadToken;

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not 32 hexadecimal digits")
    }
}

impl std::error::Error for BadToken {}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadToken);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| BadToken)
    }
}

/// One writing transaction: the how manieth of its chain, and its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The number of writing transactions so far, this one included.
    pub number: u64,
    /// Its token.
    pub token: Token,
}

/// What a workspace knows of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Chain {
    /// Drawn tokens, oldest first.
    tokens: Vec<Token>,
    confirmed: Option<Link>,
}

/// What follows from the list and what is on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// The last write was this workspace's: it may write.
    Continues,
    /// Somebody wrote with a token that is not in the list: a copy of this workspace.
    Copied,
    /// A write that this workspace knows to have happened is not there any more.
    WentBack,
}

/// What is to be done about a transaction that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirming {
    /// Its link is to be noted as the last confirmed one.
    Note,
    /// A later one is noted, and rests on it: there is nothing to do.
    Done,
    /// Another process has confirmed this link meanwhile: the server has to be asked whether it has both.
    Ask(Link),
    /// The server does not have what was confirmed.
    WentBack,
}

/// Whether the server contradicts a link: `last` is its last one, `kept` its token under the number of `link`, where it
/// still keeps that.
pub fn contradicts(last: Link, kept: Option<Token>, link: Link) -> bool {
    kept.map_or(last.number < link.number, |kept| kept != link.token)
}

impl Chain {
    /// Adds a token that was drawn, before the transaction begins that uses it.
    pub fn add(&mut self, token: Token) {
        self.tokens.push(token);
    }

    /// Whether the list holds a token.
    pub fn knows(&self, token: Token) -> bool {
        // What was drawn last is asked for most.
        self.tokens.iter().rev().any(|known| *known == token)
    }

    /// Tokens, oldest first.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The last link that is known to be on the server.
    pub fn confirmed(&self) -> Option<Link> {
        self.confirmed
    }

    /// Notes a link that is known to be on the server.
    pub fn note(&mut self, link: Link) {
        if self.confirmed.is_none_or(|confirmed| confirmed.number < link.number) {
            self.confirmed = Some(link);
        }
    }

    /// What follows from what the server has: its last link, and `since`, the links that it keeps from the number of
    /// [`Chain::confirmed`] on. All of them count: a write that was under way when a workspace was copied may come after
    /// one that its original has made since.
    pub fn conclude(&self, last: Link, since: &[Link]) -> Conclusion {
        let (number, confirmed) = self.confirmed.map_or((0, None), |link| (link.number, Some(link)));
        if last.number < number {
            return Conclusion::WentBack;
        }
        let newer = || since.iter().chain([&last]).filter(|link| link.number >= number);
        if newer().any(|link| !self.knows(link.token)) {
            Conclusion::Copied
        } else if newer().any(|link| link.number == number && Some(*link) != confirmed) && confirmed.is_some() {
            Conclusion::WentBack
        } else {
            Conclusion::Continues
        }
    }

    /// Whether a token is so old that others could push it out of the list while it is used.
    pub fn is_old(&self, token: Token, keep: usize) -> bool {
        !self.tokens.iter().rev().take(keep / 2).any(|known| *known == token)
    }

    /// What is to be done once `link` was committed on top of `before`. `checked` is a link that the server was seen to
    /// have since `link` was made, or while its row was locked for it.
    pub fn confirming(&self, link: Link, before: Option<Link>, checked: Option<Link>) -> Confirming {
        let Some(confirmed) = self.confirmed else { return Confirming::Note };
        if confirmed == link {
            Confirming::Done
        } else if confirmed.number == link.number
            || before.is_some_and(|before| before.number == confirmed.number && before != confirmed)
        {
            Confirming::WentBack
        } else if before == Some(confirmed) || checked == Some(confirmed) {
            if confirmed.number < link.number { Confirming::Note } else { Confirming::Done }
        } else {
            Confirming::Ask(confirmed)
        }
    }

    /// Drops tokens that are older than the confirmed one, but for the last `keep`.
    pub fn prune(&mut self, keep: usize) {
        let Some(confirmed) = self.confirmed else { return };
        let at = self.tokens.iter().position(|token| *token == confirmed.token).unwrap_or_default();
        self.tokens.drain(..at.min(self.tokens.len().saturating_sub(keep)));
    }
}

#[cfg(test)]
mod tests;
