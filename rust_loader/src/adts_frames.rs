//! Frames of an ADTS stream (bare AAC), from any frame on. The header is that of ISO/IEC 13818-7, section 6.2.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

const HEADER_BYTES: usize = 7;
const CHECKSUM_BYTES: usize = 2;

/// A reader that goes from frame to frame, each of which must follow the one before at once.
pub struct AdtsFrames<R: Read + Seek> {
    source: BufReader<R>,
    next_frame: u64,
    payload: Vec<u8>,
}

impl<R: Read + Seek> AdtsFrames<R> {
    pub fn new(source: R, offset: u64) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(1 << 16, source);
        source.seek(SeekFrom::Start(offset))?;
        Ok(Self { source, next_frame: offset, payload: Vec::new() })
    }

    /// Payload and offset of the next frame; None at the end of the file, or where tags begin.
    pub fn advance(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        let here = self.next_frame;
        let ahead = self.source.fill_buf()?;
        if ahead.is_empty() || ahead.starts_with(b"TAG") || ahead.starts_with(b"APETAGEX") || ahead.starts_with(b"ID3")
        {
            return Ok(None);
        }
        if ahead[0] != 0xff {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no frame where one should be"));
        }
        let mut header = [0u8; HEADER_BYTES];
        self.source.read_exact(&mut header)?;
        if header[1] & 0xf6 != 0xf0 || header[6] & 3 != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no frame where one should be"));
        }
        let frame_bytes = usize::from(header[3] & 3) << 11 | usize::from(header[4]) << 3 | usize::from(header[5] >> 5);
        let head_bytes = HEADER_BYTES + if header[1] & 1 == 0 { CHECKSUM_BYTES } else { 0 };
        let payload_bytes = frame_bytes
            .checked_sub(head_bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame shorter than its header"))?;
        self.source.seek_relative((head_bytes - HEADER_BYTES) as i64)?;
        self.payload.resize(payload_bytes, 0);
        self.source.read_exact(&mut self.payload)?;
        self.next_frame += frame_bytes as u64;
        Ok(Some((&self.payload, here)))
    }
}

/// Whether the last frame of a stream without gaps is not all there.
pub fn is_cut(source: impl Read + Seek, offset: u64) -> bool {
    let Ok(mut frames) = AdtsFrames::new(source, offset) else { return false };
    loop {
        match frames.advance() {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(error) => return error.kind() == io::ErrorKind::UnexpectedEof,
        }
    }
}
