use byteorder::{ByteOrder, LittleEndian};

use crate::types::FileId;

/// Appends fields in the byte order of the format.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        let mut bytes = [0; 2];
        LittleEndian::write_u16(&mut bytes, value);
        self.put(&bytes);
    }

    fn put_u32(&mut self, value: u32) {
        let mut bytes = [0; 4];
        LittleEndian::write_u32(&mut bytes, value);
        self.put(&bytes);
    }

    fn put_u64(&mut self, value: u64) {
        let mut bytes = [0; 8];
        LittleEndian::write_u64(&mut bytes, value);
        self.put(&bytes);
    }

    fn put_file_id(&mut self, id: FileId) {
        self.put(&id.0);
    }

    /// A `u32` count; the limits of the format keep counts below 2³².
    fn put_count(&mut self, count: usize) {
        debug_assert!(u32::try_from(count).is_ok(), "count {count} exceeds u32");
        self.put_u32(count as u32);
    }

    fn put_bytes16(&mut self, bytes: &[u8]) {
        debug_assert!(u16::try_from(bytes.len()).is_ok(), "{} bytes exceed u16", bytes.len());
        self.put_u16(bytes.len() as u16);
        self.put(bytes);
    }

    fn put_bytes32(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.put(bytes);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
