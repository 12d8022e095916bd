//! What every decoder is tried on.

/// Bytes written as hexadecimal digits, with any white space between.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter(|char| !char.is_whitespace()).map(|char| char.to_digit(16).unwrap() as u8).collect();
    assert!(digits.len().is_multiple_of(2), "{} digits", digits.len());
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Every single damage of one byte: its lowest bit, its highest bit, all bits.
pub(super) fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).flat_map(move |index| {
        [0x01, 0x80, 0xFF].into_iter().map(move |mask| {
            let mut damaged = bytes.to_vec();
            damaged[index] ^= mask;
            (index, damaged)
        })
    })
}

/// Every proper prefix.
pub(super) fn cuts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..bytes.len()).map(move |len| &bytes[..len])
}

/// `bytes` with other bytes put in at `offset`.
pub(super) fn patched(bytes: &[u8], offset: usize, patch: &[u8]) -> Vec<u8> {
    let mut patched = bytes.to_vec();
    patched[offset..offset + patch.len()].copy_from_slice(patch);
    patched
}
