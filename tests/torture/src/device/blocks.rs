//! A disk's content in memory, cheap to copy: blocks are shared between images, and the hash of one follows its writes.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub const BLOCK_BYTES: usize = 4096;
/// Blocks that are copied together when one of them is written to.
const CHUNK_BLOCKS: usize = 256;

type Block = [u8; BLOCK_BYTES];
/// Blocks of zeros are none.
type Chunk = Vec<Option<Arc<Block>>>;

#[derive(Clone)]
pub struct Image {
    chunks: Vec<Arc<Chunk>>,
    hash: u64,
}

impl Image {
    pub fn zeros(bytes: u64) -> Self {
        let chunk: Arc<Chunk> = Arc::new(vec![None; CHUNK_BLOCKS]);
        Self { chunks: vec![chunk; (bytes as usize).div_ceil(CHUNK_BLOCKS * BLOCK_BYTES)], hash: 0 }
    }

    pub fn read_from(file: &File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let mut image = Self::zeros(len);
        let mut bytes = vec![0; CHUNK_BLOCKS * BLOCK_BYTES];
        for offset in (0..len).step_by(bytes.len()) {
            let many = bytes.len().min((len - offset) as usize);
            file.read_exact_at(&mut bytes[..many], offset)?;
            image.write(offset, &bytes[..many]);
        }
        Ok(image)
    }

    /// Makes a file of zeros hold this.
    pub fn write_to(&self, file: &File) -> io::Result<()> {
        file.set_len(self.bytes())?;
        self.blocks().try_for_each(|(index, block)| file.write_all_at(block, (index * BLOCK_BYTES) as u64))
    }

    /// Those that are not all zeros.
    pub fn blocks(&self) -> impl Iterator<Item = (usize, &Block)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(chunk, blocks)| {
            let blocks = blocks.iter().enumerate();
            blocks.filter_map(move |(index, block)| Some((chunk * CHUNK_BLOCKS + index, &**block.as_ref()?)))
        })
    }

    pub fn bytes(&self) -> u64 {
        (self.chunks.len() * CHUNK_BLOCKS * BLOCK_BYTES) as u64
    }

    /// Equal for equal content.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let mut offset = offset as usize;
        while !bytes.is_empty() {
            let (index, start) = (offset / BLOCK_BYTES, offset % BLOCK_BYTES);
            let many = bytes.len().min(BLOCK_BYTES - start);
            self.change(index, start, &bytes[..many]);
            bytes = &bytes[many..];
            offset += many;
        }
    }

    fn change(&mut self, index: usize, start: usize, bytes: &[u8]) {
        let slot = &self.chunks[index / CHUNK_BLOCKS][index % CHUNK_BLOCKS];
        let old = slot.as_deref().map_or([0; BLOCK_BYTES], |block| *block);
        if old[start..start + bytes.len()] == *bytes {
            return;
        }
        let mut new = old;
        new[start..start + bytes.len()].copy_from_slice(bytes);
        self.hash ^= hash_of(index, &old) ^ hash_of(index, &new);
        let slot = &mut Arc::make_mut(&mut self.chunks[index / CHUNK_BLOCKS])[index % CHUNK_BLOCKS];
        *slot = (new != [0; BLOCK_BYTES]).then(|| Arc::new(new));
    }
}

/// Zeros hash to nothing, so that an empty image does.
fn hash_of(index: usize, block: &Block) -> u64 {
    if *block == [0; BLOCK_BYTES] { 0 } else { xxh3_64_with_seed(block, index as u64) }
}
