//! The encoder's delay and padding in a Matroska or WebM file: CodecDelay of the track and DiscardPadding of its last
//! block (RFC 9559, sections 5.1.4.1.27 and 5.1.3.5.7), which Symphonia does not apply.

use std::io::{Read, Seek, SeekFrom};

pub const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const CODEC_DELAY: u32 = 0x56aa;
pub const CLUSTER: u32 = 0x1f43_b675;
pub const SIMPLE_BLOCK: u32 = 0xa3;
pub const BLOCK_GROUP: u32 = 0xa0;
pub const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;

const MAX_TRACKS_BYTES: u64 = 16 << 20;
const MAX_CLUSTER_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatroskaTrims {
    /// In samples.
    pub delay: u64,
    pub padding: u64,
    /// Bytes of the file that are not there.
    pub missing_bytes: u64,
}

/// Where an element's content lies.
#[derive(Clone, Copy)]
struct Element {
    id: u32,
    begin: u64,
    end: u64,
}

impl MatroskaTrims {
    /// None where the file is not of known sizes throughout (a live recording) or is damaged.
    pub fn read(mut media: impl Read + Seek, track: u32, rate_hz: u32) -> Option<Self> {
        let file_bytes = media.seek(SeekFrom::End(0)).ok()?;
        let segment = elements(&mut media, 0, file_bytes, SEGMENT)?;
        let (mut delay_ns, mut clusters) = (0, [None; 2]);
        let mut at = segment.begin;
        while let Some(element) = read_element(&mut media, at, segment.end.min(file_bytes)) {
            match element.id {
                TRACKS => delay_ns = codec_delay(&content(&mut media, element, MAX_TRACKS_BYTES)?, track),
                CLUSTER => clusters = [Some(element), clusters[0]],
                _ => {}
            }
            at = element.end;
        }
        let mut padding_ns = 0;
        for cluster in clusters.into_iter().flatten() {
            if let Some(found) = last_padding(&content(&mut media, cluster, MAX_CLUSTER_BYTES)?, track) {
                padding_ns = found;
                break;
            }
        }
        Some(Self {
            delay: to_samples(delay_ns, rate_hz),
            padding: to_samples(padding_ns, rate_hz),
            missing_bytes: segment.end.saturating_sub(file_bytes),
        })
    }
}

/// The first element with this id between two offsets.
fn elements(media: &mut (impl Read + Seek), mut at: u64, end: u64, id: u32) -> Option<Element> {
    loop {
        let element = read_element(media, at, end)?;
        if element.id == id {
            return Some(element);
        }
        at = element.end;
    }
}

/// None at the end, where an element is damaged, or where one is of unknown size.
fn read_element(media: &mut (impl Read + Seek), at: u64, end: u64) -> Option<Element> {
    let mut head = [0u8; 12];
    let available = usize::try_from(end.checked_sub(at)?.min(12)).ok()?;
    media.seek(SeekFrom::Start(at)).ok()?;
    media.read_exact(&mut head[..available]).ok()?;
    let (id, size, head_bytes) = parse_head(&head[..available])?;
    let begin = at + head_bytes as u64;
    Some(Element { id, begin, end: begin.checked_add(size)? })
}

/// Id, size and the bytes that both take; None where the size is unknown.
fn parse_head(bytes: &[u8]) -> Option<(u32, u64, usize)> {
    let (id, id_bytes) = parse_id(bytes)?;
    let (size, size_bytes) = parse_vint(&bytes[id_bytes..])?;
    let unknown = size == (1 << (7 * size_bytes)) - 1;
    (!unknown).then_some((id, size, id_bytes + size_bytes))
}

/// An element's id, length marker included, and the bytes that it takes.
pub fn parse_id(bytes: &[u8]) -> Option<(u32, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let id = bytes.get(..length).filter(|_| length <= 4)?;
    Some((id.iter().fold(0, |id, &byte| id << 8 | u32::from(byte)), length))
}

/// A number whose leading zeros say how long it is (RFC 8794, section 4).
pub fn parse_vint(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let value = bytes.get(..length.min(9)).filter(|_| length <= 8)?;
    let value = value.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some((value & ((1 << (7 * length)) - 1), length))
}

fn content(media: &mut (impl Read + Seek), element: Element, max_bytes: u64) -> Option<Vec<u8>> {
    let bytes = element.end.checked_sub(element.begin).filter(|&bytes| bytes <= max_bytes)?;
    media.seek(SeekFrom::Start(element.begin)).ok()?;
    let mut content = Vec::new();
    media.take(bytes).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Ids and contents of the elements in `bytes`; ends where they are damaged.
fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size, head_bytes) = parse_head(bytes)?;
        let end = head_bytes.checked_add(usize::try_from(size).ok()?)?;
        let content = bytes.get(head_bytes..end)?;
        bytes = &bytes[end..];
        Some((id, content))
    })
}

fn child(bytes: &[u8], wanted: u32) -> Option<&[u8]> {
    children(bytes).find(|(id, _)| *id == wanted).map(|(_, content)| content)
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn codec_delay(tracks: &[u8], track: u32) -> u64 {
    children(tracks)
        .filter(|(id, _)| *id == TRACK_ENTRY)
        .find(|(_, entry)| child(entry, TRACK_NUMBER).is_some_and(|number| unsigned(number) == u64::from(track)))
        .and_then(|(_, entry)| child(entry, CODEC_DELAY))
        .map_or(0, unsigned)
}

/// What is to be discarded of the track's last block in a cluster; None when it has none there.
fn last_padding(cluster: &[u8], track: u32) -> Option<u64> {
    let of_track = |block: &[u8]| parse_vint(block).is_some_and(|(number, _)| number == u64::from(track));
    let mut found = None;
    for (id, content) in children(cluster) {
        if id == SIMPLE_BLOCK && of_track(content) {
            found = Some(0);
        }
        if id == BLOCK_GROUP && child(content, BLOCK).is_some_and(of_track) {
            // Negative paddings are for the start of a block, which the codec's delay covers.
            let padding = child(content, DISCARD_PADDING).filter(|bytes| bytes.first().is_some_and(|&b| b < 0x80));
            found = Some(padding.map_or(0, unsigned));
        }
    }
    found
}

fn to_samples(ns: u64, rate_hz: u32) -> u64 {
    ((u128::from(ns) * u128::from(rate_hz) + 500_000_000) / 1_000_000_000) as u64
}
