//! How much of many milestones is in memory at once. It is bounded by bytes, for a milestone may have 16 MiB, and by numbers,
//! for small ones should not gather for long.

/// Bytes of texts and rows that are worked on at once. What is made of them, a value or JSON, is several times as large, and
/// several stages of a move have their own.
pub const BYTES: u64 = 4 << 20;

/// Bytes that are read under a lock which other programs wait for: what takes about a millisecond.
pub const BYTES_UNDER_LOCK: u64 = 1 << 20;

/// Room for things that are worked on at once. There is always room for one, however large it is.
#[derive(Debug, Clone)]
pub struct Room {
    things: usize,
    bytes: u64,
    is_empty: bool,
}

impl Room {
    /// Room for so many things, of [`BYTES`] together.
    pub fn new(things: usize) -> Self {
        Self::of(things, BYTES)
    }

    /// Room for so many things of so many bytes together.
    pub fn of(things: usize, bytes: u64) -> Self {
        Self { things, bytes, is_empty: true }
    }

    /// Takes a thing in, where there is room for it.
    pub fn takes(&mut self, bytes: u64) -> bool {
        let has_room = self.is_empty || (self.things > 0 && bytes <= self.bytes);
        if has_room {
            self.add(bytes);
        }
        has_room
    }

    /// Takes a thing in that is there already. Whether the room is full then.
    pub fn fills(&mut self, bytes: u64) -> bool {
        self.add(bytes);
        self.things == 0 || self.bytes == 0
    }

    fn add(&mut self, bytes: u64) {
        self.things = self.things.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_empty = false;
    }
}

/// How many of the first things, whose sizes are known, there is room for.
pub fn fitting(mut room: Room, sizes: impl IntoIterator<Item = u64>) -> usize {
    sizes.into_iter().take_while(|bytes| room.takes(*bytes)).count()
}

/// The next things, until the room is full; none where none is left.
pub fn next_ones<T>(mut room: Room, things: &mut dyn Iterator<Item = T>, bytes: impl Fn(&T) -> u64) -> Vec<T> {
    let mut next = Vec::new();
    for thing in things {
        let is_full = room.fills(bytes(&thing));
        next.push(thing);
        if is_full {
            break;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::{Room, fitting, next_ones};

    #[test]
    fn what_is_worked_on_at_once_is_bounded_by_number_and_bytes() {
        assert_eq!(fitting(Room::of(3, 100), [1, 1, 1, 1]), 3);
        assert_eq!(fitting(Room::of(9, 100), [40, 60, 0, 1]), 3);
        assert_eq!(fitting(Room::of(9, 100), []), 0);
    }

    #[test]
    fn one_that_is_larger_than_all_room_goes_alone() {
        assert_eq!(fitting(Room::of(9, 100), [101, 1]), 1);
        assert_eq!(fitting(Room::of(9, 100), [1, 101]), 1);
        let sizes = [1, 1, 500, 2, 2, 2];
        let (mut things, mut parts) = (sizes.into_iter(), Vec::new());
        loop {
            let next = next_ones(Room::of(2, 100), &mut things, |size| *size);
            if next.is_empty() {
                break;
            }
            parts.push(next);
        }
        assert_eq!(parts, [vec![1, 1], vec![500], vec![2, 2], vec![2]]);
    }
}
