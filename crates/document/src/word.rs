//! Eight bytes looked at at once, with the arithmetic of one word: the compiler makes nothing like it of a loop over bytes in
//! a program that is optimized for its size. Masks have the highest bit of each byte that is meant, and no other.

const HIGHEST: u64 = each(0x80);
const OTHERS: u64 = each(0x7f);

/// A word in which each byte is this one.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The bytes below a blank: the control characters of ASCII, but for DEL.
pub fn below_blank(word: u64) -> u64 {
    // From 0x20 on the sum reaches the highest bit, and never the next byte.
    !(((word & OTHERS) + each(0x60)) | word) & HIGHEST
}

/// The bytes that are this one.
pub fn equal_to(word: u64, byte: u8) -> u64 {
    let different = word ^ each(byte);
    !(((different & OTHERS) + OTHERS) | different) & HIGHEST
}

/// The words of some bytes; the last one is filled up with blanks.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().copied().chain((!rest.is_empty()).then_some(last)).map(u64::from_le_bytes)
}

/// Whether a mask of any of the words of some bytes has a byte.
pub fn any(bytes: &[u8], mask: impl Fn(u64) -> u64) -> bool {
    words(bytes).fold(0, |found, word| found | mask(word)) != 0
}

/// The first byte that the masks have.
pub fn first(bytes: &[u8], mask: impl Fn(u64) -> u64) -> Option<usize> {
    let (number, mask) = words(bytes).map(mask).enumerate().find(|(_, mask)| *mask != 0)?;
    Some(8 * number + mask.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::{any, below_blank, equal_to, first};

    /// Every byte at every place, among bytes that could lend it a bit or take one.
    #[test]
    fn masks_have_the_bytes_that_are_meant_and_no_other() {
        for (byte, at, around) in (0..=u8::MAX).flat_map(|byte| {
            (0..8).flat_map(move |at| [0, 0x0a, 0x1f, 0x20, 0x7f, 0x80, 0xff].map(|it| (byte, at, it)))
        }) {
            let mut bytes = [around; 8];
            bytes[at] = byte;
            let word = u64::from_le_bytes(bytes);
            let expected = |is_meant: &dyn Fn(u8) -> bool| {
                u64::from_le_bytes(bytes.map(|byte| if is_meant(byte) { 0x80 } else { 0 }))
            };
            assert_eq!(below_blank(word), expected(&|byte| byte < 0x20), "{bytes:?}");
            for wanted in [b'\n', b'"', b'\\', 0x7f, 0x80, 0xff, 0] {
                assert_eq!(equal_to(word, wanted), expected(&|byte| byte == wanted), "{bytes:?} {wanted}");
            }
        }
    }

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        for length in 0..40 {
            let mut bytes = vec![b'a'; length];
            assert!(!any(&bytes, |word| equal_to(word, b'x')));
            assert_eq!(first(&bytes, |word| equal_to(word, b'x')), None);
            for at in 0..length {
                bytes[at] = b'x';
                assert!(any(&bytes, |word| equal_to(word, b'x')), "{at} of {length}");
                assert_eq!(first(&bytes, |word| equal_to(word, b'x')), Some(at), "of {length}");
                let either = |word| equal_to(word, b'a') | equal_to(word, b'x');
                assert_eq!(first(&bytes[at..], either), Some(0));
                bytes[at] = b'a';
            }
        }
    }
}
