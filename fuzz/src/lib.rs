//! What the mutators of several targets share.

/// libFuzzer's own mutation; then, seven times out of eight, `sign` makes the checksums fit again, so that what lies behind them is reached.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32, sign: fn(&[u8]) -> Vec<u8>) -> usize {
    let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    if seed % 8 != 0 {
        let signed = sign(&data[..size]);
        data[..size].copy_from_slice(&signed);
    }
    size
}
