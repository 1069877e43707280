//! The frame of information in front of many MP3 files: Xing or Info, with LAME's extension, or VBRI. Layouts:
//! LAME's `VbrTag.c` and http://gabriel.mp3-tech.org/mp3infotag.html; VBRI: Fraunhofer's, as in FFmpeg's `mp3dec.c`.

use crate::mpeg_header::{Header, Layer};

/// Samples by which a decoder is late, which LAME's delay does not count.
const DECODER_DELAY: u64 = 528 + 1;

/// Bytes of a frame that tell whether it is such a tag.
pub const TELLTALE_BYTES: usize = 4 + 32 + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tag {
    /// Frames in the file; encoders disagree on whether this one counts.
    pub num_frames: Option<u64>,
    /// Bytes of all frames, this one included.
    pub num_bytes: Option<u64>,
    /// Samples that encoder and decoder put before and behind the music.
    pub gapless: Option<Gapless>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gapless {
    pub delay: u64,
    pub padding: u64,
}

impl Tag {
    /// None for a frame of audio.
    pub fn parse(frame: &[u8], header: &Header) -> Option<Self> {
        match &frame.get(id_offset(frame, header)?..)?[..4] {
            b"VBRI" => {
                let body = frame.get(36..)?;
                (body.get(4..6)? == [0, 1]).then_some(())?;
                let number = |at: usize| Some(u64::from(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?)));
                Some(Self { num_bytes: number(10), num_frames: number(14), gapless: None })
            }
            _ => Self::xing(frame, header),
        }
    }

    fn xing(frame: &[u8], header: &Header) -> Option<Self> {
        let mut at = 4 + header.side_info_bytes() + 4;
        let mut take = |count: usize| {
            at += count;
            frame.get(at - count..at)
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let flags = number(take(4)?);
        let num_frames = if flags & 1 != 0 { Some(number(take(4)?)) } else { None };
        let num_bytes = if flags & 2 != 0 { Some(number(take(4)?)) } else { None };
        if flags & 4 != 0 {
            take(100)?; // table of contents
        }
        if flags & 8 != 0 {
            take(4)?; // quality
        }
        let gapless = Gapless::parse(frame, at, header.has_crc);
        Some(Self { num_frames: num_frames.filter(|&n| n > 0), num_bytes: num_bytes.filter(|&n| n > 0), gapless })
    }

    /// Whether the frame that begins with `head` (`TELLTALE_BYTES` of it, or all) is a tag, not audio.
    pub fn is_at(head: &[u8], header: &Header) -> bool {
        id_offset(head, header).is_some()
    }
}

impl Gapless {
    /// LAME's extension, whose first byte is `frame[at]`; None when it is cut off or fails its checksum.
    fn parse(frame: &[u8], at: usize, has_crc: bool) -> Option<Self> {
        let tag = frame.get(at..)?;
        let trim = tag.get(21..24)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        if let (Some(crc), true) = (tag.get(34..36), has_crc || tag.starts_with(b"LAME")) {
            let crc = u16::from_be_bytes([crc[0], crc[1]]);
            if crc != 0 && crc != crc16(&frame[..at + 34]) {
                return None;
            }
        }
        Some(match &tag[..4] {
            b"LAME" | b"Lavf" | b"Lavc" => {
                Self { delay: (trim >> 12) + DECODER_DELAY, padding: (trim & 0xfff).saturating_sub(DECODER_DELAY) }
            }
            _ => Self { delay: 0, padding: 0 },
        })
    }
}

/// Where the tag's four letters are; None when they are not, or the side information before them is not all zero.
fn id_offset(frame: &[u8], header: &Header) -> Option<usize> {
    if header.layer != Layer::Three {
        return None;
    }
    let found = |at: usize, ids: &[&[u8]], least: usize| {
        let id = frame.get(at..at + 4)?;
        let body = frame.get(if header.has_crc { 6 } else { 4 }..at)?;
        let fits = header.num_bytes >= at + least;
        (ids.contains(&id) && fits && body.iter().all(|&byte| byte == 0)).then_some(at)
    };
    found(4 + header.side_info_bytes(), &[b"Xing", b"Info"], 8).or_else(|| found(36, &[b"VBRI"], 26))
}

/// CRC-16/ARC.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: &[u8], at: usize, rest: &[u8]) -> (Vec<u8>, Header) {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&0xfffb9064u32.to_be_bytes());
        frame[at..at + 4].copy_from_slice(id);
        frame[at + 4..at + 4 + rest.len()].copy_from_slice(rest);
        let header = Header::parse(&frame).unwrap();
        (frame, header)
    }

    fn lame(crc: Option<u16>) -> (Vec<u8>, Header) {
        let mut rest = vec![0, 0, 0, 15];
        rest.extend(1000u32.to_be_bytes());
        rest.extend(418_000u32.to_be_bytes());
        rest.extend([7; 100]);
        rest.extend(50u32.to_be_bytes());
        rest.extend(b"LAME3.100");
        rest.extend([0; 12]);
        rest.extend([0x24, 0x06, 0x00]); // 576, 1536
        rest.extend([0; 10]);
        let (mut made, header) = frame(b"Xing", 36, &rest);
        let right = crc16(&made[..190]);
        made[190..192].copy_from_slice(&crc.unwrap_or(right).to_be_bytes());
        (made, header)
    }

    #[test]
    fn lames_extension() {
        assert_eq!(crc16(b"123456789"), 0xbb3d);
        let expected = Tag {
            num_frames: Some(1000),
            num_bytes: Some(418_000),
            gapless: Some(Gapless { delay: 576 + 529, padding: 1536 - 529 }),
        };
        for crc in [None, Some(0)] {
            let (frame, header) = lame(crc);
            assert_eq!(Tag::parse(&frame, &header), Some(expected));
        }
        let (frame, header) = lame(Some(0x1234));
        assert_eq!(Tag::parse(&frame, &header), Some(Tag { gapless: None, ..expected }));
        assert_eq!(Tag::parse(&frame[..170], &header), Some(Tag { gapless: None, ..expected }));
        assert!(Tag::is_at(&frame[..TELLTALE_BYTES], &header));
    }

    #[test]
    fn vbri() {
        let mut rest = vec![0, 1, 0, 0, 0, 75];
        rest.extend(9999u32.to_be_bytes());
        rest.extend(24u32.to_be_bytes());
        let (frame, header) = frame(b"VBRI", 36, &rest);
        let expected = Tag { num_frames: Some(24), num_bytes: Some(9999), gapless: None };
        assert_eq!(Tag::parse(&frame, &header), Some(expected));
    }

    #[test]
    fn audio_is_no_tag() {
        let (mut made, header) = frame(b"Xing", 36, &[]);
        assert!(Tag::parse(&made, &header).is_some_and(|tag| tag.num_frames.is_none()));
        made[20] = 1; // side information of audio
        assert_eq!(Tag::parse(&made, &header), None);
        assert!(!Tag::is_at(&made[..20], &header));
        let (made, header) = frame(b"Xyng", 36, &[]);
        assert_eq!(Tag::parse(&made, &header), None);
    }
}
