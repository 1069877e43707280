//! Packets of one track of a Matroska or WebM file, from any block on (RFC 9559, section 10). Laced blocks are not read.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::matroska_trims::{BLOCK, BLOCK_GROUP, CLUSTER, SEGMENT, SIMPLE_BLOCK, parse_id, parse_vint};

const MAX_PACKET_BYTES: u64 = 1 << 26;
const LACING: u8 = 6;

/// A reader that goes from block to block.
pub struct MatroskaBlocks<R: Read + Seek> {
    source: BufReader<R>,
    track: u64,
    at: u64,
    block: Vec<u8>,
}

impl<R: Read + Seek> MatroskaBlocks<R> {
    /// `offset`: of any element of a cluster, a segment or the file.
    pub fn new(source: R, track: u32, offset: u64) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(1 << 16, source);
        source.seek(SeekFrom::Start(offset))?;
        Ok(Self { source, track: u64::from(track), at: offset, block: Vec::new() })
    }

    /// Data of the track's next block, and the offset of its element; None at the end of the file.
    pub fn advance(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        loop {
            let here = self.at;
            let Some((id, size)) = self.read_head()? else { return Ok(None) };
            match id {
                // Their children are read as if they were siblings.
                SEGMENT | CLUSTER | BLOCK_GROUP => {}
                SIMPLE_BLOCK | BLOCK => {
                    let bytes =
                        size.filter(|&bytes| bytes <= MAX_PACKET_BYTES).ok_or_else(|| invalid("a huge block"))?;
                    self.block.resize(bytes as usize, 0);
                    self.source.read_exact(&mut self.block)?;
                    self.at += bytes;
                    let (track, track_bytes) = parse_vint(&self.block).ok_or_else(|| invalid("a damaged block"))?;
                    if track != self.track {
                        continue;
                    }
                    let data_at = track_bytes + 3; // a time stamp of two bytes, and flags
                    match self.block.get(data_at - 1) {
                        Some(flags) if flags & LACING == 0 => return Ok(Some((&self.block[data_at..], here))),
                        _ => return Err(invalid("a laced block")),
                    }
                }
                _ => {
                    let bytes = size.ok_or_else(|| invalid("an element of unknown size"))?;
                    let skip = i64::try_from(bytes).map_err(|_| invalid("a huge element"))?;
                    self.source.seek_relative(skip)?;
                    self.at += bytes;
                }
            }
        }
    }

    /// Id and size of the next element; a size of None is unknown.
    fn read_head(&mut self) -> io::Result<Option<(u32, Option<u64>)>> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut head = [0u8; 12];
        self.source.read_exact(&mut head[..1])?;
        let id_bytes = head[0].leading_zeros() as usize + 1;
        if id_bytes > 4 {
            return Err(invalid("no element where one should be"));
        }
        self.source.read_exact(&mut head[1..=id_bytes])?;
        let size_bytes = head[id_bytes].leading_zeros() as usize + 1;
        if size_bytes > 8 {
            return Err(invalid("no element where one should be"));
        }
        self.source.read_exact(&mut head[id_bytes + 1..id_bytes + size_bytes])?;
        self.at += (id_bytes + size_bytes) as u64;
        let (id, _) = parse_id(&head).ok_or_else(|| invalid("a damaged id"))?;
        let (size, _) = parse_vint(&head[id_bytes..]).ok_or_else(|| invalid("a damaged size"))?;
        let unknown = size == (1 << (7 * size_bytes)) - 1;
        Ok(Some((id, (!unknown).then_some(size))))
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
