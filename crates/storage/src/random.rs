//! Random numbers of the kernel, for names that cannot be guessed.

use std::io;

/// So many random bytes, in hexadecimal.
pub(crate) fn hexadecimal(bytes: usize) -> io::Result<String> {
    let mut random = vec![0_u8; bytes];
    let mut filled = 0;
    while filled < bytes {
        filled += rustix::rand::getrandom(&mut random[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
