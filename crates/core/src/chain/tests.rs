//! A model of the chain, explored exhaustively: processes of a workspace and of its copy, which die at any step, COMMITs
//! whose answers are lost or which go on without their process, and a server that goes back.

use std::collections::HashSet;

use super::{Chain, Conclusion, Confirming, Link, Token, contradicts};

/// Tokens that the list keeps at least: twice as many as others draw here while one has the row locked.
const KEPT: usize = 4;

/// What may happen beside writes.
#[derive(Debug, Clone, Copy)]
struct May {
    draw: u8,
    fork: bool,
    go_back: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Process {
    Idle,
    Drawn(Token),
    /// Has the row locked, and has written.
    Holding(Write),
    /// Its COMMIT has got no answer.
    Looking(Write),
    Committed(Write),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Write {
    link: Link,
    before: Link,
    checked: Option<Link>,
}

/// All that there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// What the server has, by number.
    history: Vec<Token>,
    /// A transaction that has the row locked: of a process, or going on without one.
    locked: Option<(Link, Option<usize>)>,
    /// What the workspace and its copy know.
    sides: Vec<Chain>,
    /// Two of the workspace, one of the copy.
    processes: [Process; 3],
    drawn: u8,
    /// Whose each drawn token is, and whether it was drawn after the fork.
    owners: Vec<(Token, usize, bool)>,
    /// What was said to be written, by side.
    acknowledged: Vec<Vec<Link>>,
    said_not_written: Vec<Token>,
    went_back: u8,
}

fn token(number: u8) -> Token {
    Token::new([number; 16])
}

fn side_of(process: usize) -> usize {
    usize::from(process == 2)
}

impl World {
    fn new() -> Self {
        let mut chain = Chain::default();
        let first = Link { number: 1, token: token(0) };
        chain.add(first.token);
        chain.note(first);
        Self {
            history: vec![first.token],
            locked: None,
            sides: vec![chain],
            processes: [Process::Idle, Process::Idle, Process::Idle],
            drawn: 1,
            owners: Vec::new(),
            acknowledged: vec![Vec::new()],
            said_not_written: Vec::new(),
            went_back: 0,
        }
    }

    fn last(&self) -> Link {
        Link { number: self.history.len() as u64, token: *self.history.last().unwrap() }
    }

    fn kept(&self, number: u64) -> Option<Token> {
        usize::try_from(number).ok().and_then(|number| self.history.get(number.checked_sub(1)?)).copied()
    }

    fn has(&self, link: Link) -> bool {
        self.kept(link.number) == Some(link.token)
    }

    fn commit(&mut self, link: Link) {
        assert_eq!(self.history.len() as u64 + 1, link.number, "{self:?}");
        self.history.push(link.token);
        self.locked = None;
        assert!(!self.said_not_written.contains(&link.token), "said not to be written, and is: {self:?}");
        let after_fork: HashSet<usize> =
            self.owners.iter().filter(|it| it.2 && self.history.contains(&it.0)).map(|it| it.1).collect();
        assert!(after_fork.len() < 2, "workspace and copy both wrote: {self:?}");
    }

    /// A refusal needs a reason.
    fn refused(&self, side: usize) {
        let another = self.owners.iter().any(|it| it.1 != side && it.2 && self.history.contains(&it.0));
        assert!(another || self.went_back > 0, "refused without a reason: {self:?}");
    }

    /// Every world that one step makes of this one.
    fn steps(&self, may: May) -> Vec<Self> {
        let mut worlds = Vec::new();
        if may.fork && self.sides.len() == 1 {
            let mut world = self.clone();
            world.sides.push(self.sides[0].clone());
            world.acknowledged.push(self.acknowledged[0].clone());
            worlds.push(world);
        }
        if self.went_back < may.go_back {
            for length in 1..self.history.len() {
                worlds.push(self.gone_back(length));
            }
        }
        if let Some((link, None)) = self.locked {
            let mut aborted = self.clone();
            aborted.locked = None;
            let mut late = self.clone();
            late.commit(link);
            worlds.extend([aborted, late]);
        }
        for number in 0..if self.sides.len() == 1 { 2 } else { 3 } {
            worlds.extend(self.steps_of(number, may));
        }
        worlds
    }

    fn gone_back(&self, length: usize) -> Self {
        let mut world = self.clone();
        world.history.truncate(length);
        (world.locked, world.went_back) = (None, self.went_back + 1);
        for process in &mut world.processes {
            if let Process::Holding(write) = process {
                *process = Process::Looking(*write);
            }
        }
        world
    }

    fn with(&self, number: usize, process: Process, change: impl FnOnce(&mut Self)) -> Self {
        let mut world = self.clone();
        world.processes[number] = process;
        change(&mut world);
        world
    }

    fn steps_of(&self, number: usize, may: May) -> Vec<Self> {
        let side = side_of(number);
        let chain = &self.sides[side];
        let ghost = |write: &Write| Some((write.link, None));
        match &self.processes[number] {
            Process::Idle if self.drawn <= may.draw => {
                let drawn = token(self.drawn);
                vec![self.with(number, Process::Drawn(drawn), |world| {
                    world.drawn += 1;
                    world.owners.push((drawn, side, world.sides.len() == 2));
                    world.sides[side].add(drawn);
                    world.sides[side].prune(KEPT);
                })]
            }
            Process::Idle => Vec::new(),
            Process::Drawn(drawn) => {
                let killed = self.with(number, Process::Idle, |_| {});
                if self.locked.is_some() {
                    return vec![killed];
                }
                vec![killed, self.judged(number, *drawn)]
            }
            Process::Holding(write) => vec![
                // Answered; committed without an answer; going on without an answer; undone without one; killed.
                self.with(number, Process::Committed(*write), |world| world.commit(write.link)),
                self.with(number, Process::Looking(*write), |world| world.commit(write.link)),
                self.with(number, Process::Looking(*write), |world| world.locked = ghost(write)),
                self.with(number, Process::Looking(*write), |world| world.locked = None),
                self.with(number, Process::Idle, |world| world.locked = ghost(write)),
            ],
            Process::Looking(_) if self.locked.is_some() => vec![self.with(number, Process::Idle, |_| {})],
            Process::Looking(write) => {
                let killed = self.with(number, Process::Idle, |_| {});
                if self.has(write.link) {
                    return vec![killed, self.with(number, Process::Committed(*write), |_| {})];
                }
                vec![killed, self.with(number, Process::Idle, |world| world.said_not_written.push(write.link.token))]
            }
            Process::Committed(write) => {
                let killed = self.with(number, Process::Idle, |_| {});
                let said = |world: &mut Self| world.acknowledged[side].push(write.link);
                let next = match chain.confirming(write.link, Some(write.before), write.checked) {
                    Confirming::Note => self.with(number, Process::Idle, |world| {
                        world.sides[side].note(write.link);
                        said(world);
                    }),
                    Confirming::Done => self.with(number, Process::Idle, said),
                    Confirming::Ask(other) => {
                        let last = self.last();
                        if [other, write.link].iter().any(|link| contradicts(last, self.kept(link.number), *link)) {
                            self.refused(side);
                            self.with(number, Process::Idle, |_| {})
                        } else {
                            let checked = Process::Committed(Write { checked: Some(other), ..*write });
                            self.with(number, checked, |_| {})
                        }
                    }
                    Confirming::WentBack => {
                        self.refused(side);
                        self.with(number, Process::Idle, |_| {})
                    }
                };
                vec![killed, next]
            }
        }
    }

    /// A process has locked the row and reads the list.
    fn judged(&self, number: usize, drawn: Token) -> Self {
        let side = side_of(number);
        let (chain, before) = (&self.sides[side], self.last());
        let from = chain.confirmed().map_or(1, |confirmed| confirmed.number);
        let since: Vec<Link> =
            (from..=before.number).filter_map(|number| Some(Link { number, token: self.kept(number)? })).collect();
        if chain.conclude(before, &since) != Conclusion::Continues {
            self.refused(side);
            return self.with(number, Process::Idle, |_| {});
        }
        assert!(self.acknowledged[side].iter().all(|link| self.has(*link)), "a lost write is not noticed: {self:?}");
        let link = Link { number: before.number + 1, token: drawn };
        let write = Write { link, before, checked: chain.confirmed() };
        self.with(number, Process::Holding(write), |world| {
            world.locked = Some((link, Some(number)));
            if world.sides[side].is_old(drawn, KEPT) {
                world.sides[side].add(drawn);
            }
        })
    }
}

/// Explores every world; how many there are.
fn explore(may: May) -> usize {
    let (mut seen, mut open) = (HashSet::new(), vec![World::new()]);
    while let Some(world) = open.pop() {
        for next in world.steps(may) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn a_single_workspace_is_never_refused_whatever_dies() {
    let worlds = explore(May { draw: 4, fork: false, go_back: 0 });
    assert!(worlds > 1000, "{worlds}");
}

#[test]
fn a_workspace_and_its_copy_never_both_write() {
    let worlds = explore(May { draw: 3, fork: true, go_back: 0 });
    assert!(worlds > 1000, "{worlds}");
}

#[test]
fn a_server_that_went_back_behind_an_acknowledged_write_is_always_noticed() {
    let worlds = explore(May { draw: 4, fork: false, go_back: 1 });
    assert!(worlds > 1000, "{worlds}");
}

#[test]
fn all_of_it_at_once() {
    let worlds = explore(May { draw: 3, fork: true, go_back: 2 });
    assert!(worlds > 1000, "{worlds}");
}

#[test]
fn a_token_is_read_as_it_is_written() {
    let token = Token::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 254, 255]);
    assert_eq!(token.to_string().parse(), Ok(token));
    for bad in ["", "0", &"0".repeat(31), &"0".repeat(34), &"g".repeat(32)] {
        assert!(bad.parse::<Token>().is_err(), "{bad}");
    }
}

#[test]
fn the_list_keeps_the_last_tokens_and_all_since_the_confirmed_one() {
    let mut chain = Chain::default();
    for number in 0..10 {
        chain.add(token(number));
    }
    chain.prune(2);
    assert_eq!(chain.tokens().len(), 10, "nothing is confirmed");
    chain.note(Link { number: 1, token: token(4) });
    chain.prune(2);
    assert_eq!(chain.tokens()[0], token(4));
    chain.note(Link { number: 2, token: token(9) });
    chain.prune(2);
    assert_eq!(chain.tokens(), [token(8), token(9)]);
}
