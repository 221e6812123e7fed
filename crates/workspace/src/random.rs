//! Random numbers of the kernel: numbers of workspaces, tokens, and names that cannot be guessed.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// So many random bytes, in hexadecimal.
pub(crate) fn hexadecimal<const N: usize>() -> io::Result<String> {
    Ok(bytes::<N>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}
