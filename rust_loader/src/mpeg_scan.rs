//! The frames of an MPEG audio file in order, by their headers alone: one follows the other, and what lies between
//! (tags, junk) is skipped until two frames in a row appear again.

use crate::error::{Error, Result};
use crate::mpeg_bytes::Bytes;
use crate::mpeg_header::{HEAD_BYTES, Header};
use crate::mpeg_tag::{TELLTALE_BYTES, Tag};

/// How far into a file its first frame may be, behind tags and zeros.
const MAX_SEARCH_BYTES: u64 = 1 << 20;

/// Where the frames of a file lie, and what they are all like.
#[derive(Clone, Debug)]
pub struct Extent {
    pub header: Header,
    /// Position of the first frame, which may be a tag.
    pub begin: u64,
    /// Where trailing tags begin, or the file ends.
    pub end: u64,
    /// The two bytes that every frame begins with, but for the bit that announces a CRC.
    sync: [u8; 2],
}

#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub at: u64,
    pub header: Header,
}

/// A place between two frames; nothing else has to be known to go on from there.
#[derive(Clone, Debug)]
pub struct Scan {
    pub at: u64,
    /// Bytes passed over that are neither frames nor tags.
    pub junk_bytes: u64,
    /// Length of the frame that ends at `at`, if one was passed.
    passed: usize,
    /// Of the frame at the end that is not all there: its position, its length, and how much there is.
    pub cut: Option<(u64, usize, usize)>,
}

impl Extent {
    /// Looks right behind leading tags and zeros, or, if `anywhere`, in the first megabyte.
    pub fn find(bytes: &mut Bytes<'_>, anywhere: bool) -> Result<Option<Self>> {
        let head = bytes.get(0, 4)?;
        if !anywhere && !head.starts_with(b"ID3") && Header::parse(head).is_none() {
            return Ok(None);
        }
        let mut at = 0;
        while let Some(length) = tag_bytes(bytes, at)? {
            at += length;
        }
        let end = audio_end(bytes, at)?;
        let last = end.min(at + MAX_SEARCH_BYTES);
        while at < last {
            let head = bytes.get(at, 4)?;
            if let Some(header) = Header::parse(head) {
                let sync = [head[0], head[1]];
                if run(bytes, at, &header, end)? >= 3 {
                    return Ok(Some(Self { header, begin: at, end, sync }));
                }
            }
            if !anywhere && !bytes.has(at, &[0])? {
                return Ok(None);
            }
            at += 1;
        }
        Ok(None)
    }

    /// The next frame of audio; None at the end.
    pub fn next(&self, bytes: &mut Bytes<'_>, scan: &mut Scan) -> Result<Option<Frame>> {
        while scan.at < self.end {
            let at = scan.at;
            let left = (self.end - at).min(HEAD_BYTES.max(TELLTALE_BYTES) as u64) as usize;
            let head = bytes.get(at, left)?;
            let header = match Header::parse(head) {
                Some(header) if header.is_like(&self.header) => header,
                _ if self.is_cut_header(head) => {
                    let have = head.len();
                    return Ok(self.stop(scan, self.header.num_bytes, have));
                }
                _ => {
                    self.skip(bytes, scan)?;
                    continue;
                }
            };
            if header.num_bytes as u64 > self.end - at {
                return Ok(self.stop(scan, header.num_bytes, (self.end - at) as usize));
            }
            let is_tag = Tag::is_at(head, &header);
            scan.at += header.num_bytes as u64;
            scan.passed = header.num_bytes;
            if !is_tag {
                return Ok(Some(Frame { at, header }));
            }
        }
        Ok(None)
    }

    /// One to three bytes at the end that begin a frame.
    fn is_cut_header(&self, head: &[u8]) -> bool {
        let crc_bit = 1;
        (1..4).contains(&head.len()) && head.iter().zip(self.sync).all(|(&byte, sync)| byte | crc_bit == sync | crc_bit)
    }

    fn stop(&self, scan: &mut Scan, needs: usize, has: usize) -> Option<Frame> {
        scan.cut = Some((scan.at, needs, has));
        scan.at = self.end;
        None
    }

    /// Moves `scan` over a tag or junk, to a frame or the end.
    fn skip(&self, bytes: &mut Bytes<'_>, scan: &mut Scan) -> Result<()> {
        if let Some(length) = tag_bytes(bytes, scan.at)? {
            scan.at = (scan.at + length).min(self.end);
            return Ok(());
        }
        self.check_passed(bytes, scan)?;
        while scan.at < self.end {
            if let Some(header) = Header::parse(bytes.get(scan.at, 4)?) {
                let count = run(bytes, scan.at, &header, self.end)?;
                if header.is_like(&self.header) && count >= 2 {
                    return Ok(());
                }
                if !header.is_like(&self.header) && count >= 3 {
                    return Err(self.change(&bytes.name, scan.at, &header));
                }
            }
            let some = bytes.get(scan.at, (self.end - scan.at).min(4096) as usize)?;
            let step = 1 + some[1..].iter().position(|&byte| byte == 0xff).unwrap_or(some.len() - 1);
            scan.junk_bytes += step as u64;
            scan.at += step as u64;
        }
        Ok(())
    }

    /// Fails when the frame before `scan` has others begin inside it: its end is lost.
    fn check_passed(&self, bytes: &mut Bytes<'_>, scan: &mut Scan) -> Result<()> {
        let begin = scan.at - std::mem::take(&mut scan.passed) as u64;
        for at in begin + 1..scan.at {
            let Some(header) = Header::parse(bytes.get(at, 4)?) else { continue };
            if header.is_like(&self.header) && run(bytes, at, &header, self.end)? >= 3 {
                let message = format!("damaged: the frame at byte {begin} is cut short at byte {at}");
                return Err(Error::corrupt(&bytes.name, message));
            }
        }
        Ok(())
    }

    fn change(&self, name: &str, at: u64, to: &Header) -> Error {
        let from = &self.header;
        let mut message = format!(
            "changes from {} Hz x {} channels to {} Hz x {} channels midway, at byte {at}",
            from.sample_rate_hz, from.num_channels, to.sample_rate_hz, to.num_channels
        );
        if (from.sample_rate_hz, from.num_channels) == (to.sample_rate_hz, to.num_channels) {
            message = format!("changes its MPEG version or layer midway, at byte {at}");
        }
        Error::corrupt(name, message)
    }
}

impl Scan {
    pub fn new(at: u64) -> Self {
        Self { at, junk_bytes: 0, passed: 0, cut: None }
    }
}

/// How many frames like `header` follow each other from `at`, counted up to 3. A run that ends where the file does, or
/// in a frame that is cut there, counts as 3.
fn run(bytes: &mut Bytes<'_>, at: u64, header: &Header, end: u64) -> Result<usize> {
    let mut next = at + header.num_bytes as u64;
    for count in 1..3 {
        if next == end || (next > end && count > 1) {
            return Ok(3);
        }
        match Header::parse(bytes.get(next, 4)?) {
            Some(found) if found.is_like(header) && next < end => next += found.num_bytes as u64,
            _ => return Ok(count),
        }
    }
    Ok(3)
}

/// Length of the tag that begins at `at`: ID3v2 (id3.org, id3v2.4.0-structure), APEv2 (wiki.hydrogenaud.io, APE Tags
/// Header), ID3v1.
fn tag_bytes(bytes: &mut Bytes<'_>, at: u64) -> Result<Option<u64>> {
    let head = bytes.get(at, 32)?;
    if head.starts_with(b"ID3") && head.len() >= 10 {
        let size = head[6..10].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
        let footer = if head[5] & 0x10 != 0 { 10 } else { 0 };
        return Ok(Some(10 + size + footer));
    }
    if head.starts_with(b"APETAGEX") && head.len() == 32 {
        return Ok(Some(32 + u64::from(u32::from_le_bytes([head[12], head[13], head[14], head[15]]))));
    }
    Ok(if head.starts_with(b"TAG") { Some(128) } else { None })
}

/// Where the audio ends: before the tags at the end of the file, of which there may be several.
fn audio_end(bytes: &mut Bytes<'_>, begin: u64) -> Result<u64> {
    let mut end = bytes.len;
    loop {
        let mut found = 0;
        if end >= begin + 128 && bytes.has(end - 128, b"TAG")? {
            found = 128;
        } else if end >= begin + 32 && bytes.has(end - 32, b"APETAGEX")? {
            let foot = bytes.get(end - 32, 24)?;
            let header = if foot.get(23).is_some_and(|flags| flags & 0x80 != 0) { 32 } else { 0 };
            found = u64::from(u32::from_le_bytes([foot[12], foot[13], foot[14], foot[15]])).max(32) + header;
        } else if end >= begin + 15 && bytes.has(end - 9, b"LYRICS200")? {
            let digits = bytes.get(end - 15, 6)?;
            found = digits.iter().fold(0, |size, digit| size * 10 + u64::from(digit.wrapping_sub(b'0').min(9))) + 15;
        }
        if found == 0 || end - begin < found {
            return Ok(end);
        }
        end -= found;
    }
}
