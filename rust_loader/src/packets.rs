//! Packets from a point in the middle of a file, and the decoder that they feed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use crate::adts_frames::AdtsFrames;
use crate::decode::Interrupt;
use crate::decoder_loan::Loan;
use crate::error::{Error, Result};
use crate::matroska_blocks::MatroskaBlocks;
use crate::ogg_pages::OggPackets;
use crate::opus_packet;
use crate::planes::Planes;
use crate::stream::{Source, Stream};

/// A packet that a decoder can begin at.
#[derive(Clone, Copy)]
pub struct Mark {
    /// What `Access` says.
    pub place: u64,
    /// Packets to leave out from there on.
    pub skip: u32,
    /// The sample at which the decoder's output begins, counted from the first decoded one.
    pub at: u64,
}

/// How packets are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the offset of an Ogg page, in the logical stream of this serial number.
    OggPage { serial: u32 },
    /// By the offset of an ADTS frame.
    AdtsFrame,
    /// By the offset of a Matroska element, for the blocks of this track.
    MatroskaBlock { track: u32 },
    /// By a time stamp that only one packet bears, through Symphonia's reader.
    TimeStamp,
}

enum Feed<'s> {
    Ogg(OggPackets<File>),
    Adts(AdtsFrames<File>),
    Matroska(MatroskaBlocks<File>),
    Reader(Box<Stream<'s>>),
}

/// A fresh decoder and the packets from a mark on.
pub struct PacketRun<'s> {
    name: String,
    feed: Feed<'s>,
    decoder: Loan,
    opus: bool,
    memory_fades: bool,
}

impl<'s> PacketRun<'s> {
    pub fn new(path: &'s Path, access: Access, params: &AudioCodecParameters, mark: Mark) -> Result<Self> {
        let Mark { place, .. } = mark;
        let name = path.display().to_string();
        let open = || File::open(path).map_err(|e| Error::io(path, e));
        let mut feed = match access {
            Access::OggPage { serial } => {
                Feed::Ogg(OggPackets::new(open()?, serial, place).map_err(|e| read_error(&name, e))?)
            }
            Access::AdtsFrame => Feed::Adts(AdtsFrames::new(open()?, place).map_err(|e| read_error(&name, e))?),
            Access::MatroskaBlock { track } => {
                Feed::Matroska(MatroskaBlocks::new(open()?, track, place).map_err(|e| read_error(&name, e))?)
            }
            Access::TimeStamp => {
                let mut stream = Stream::open(Source::File(path), false)?;
                if place > 0 && !stream.seek_to_stamp(place) {
                    return Err(Error::corrupt(&name, format!("no packet at time stamp {place}")));
                }
                Feed::Reader(Box::new(stream))
            }
        };
        let decoder = Loan::new(params).map_err(|e| Error::from_decoder(&name, "opening", e))?;
        if let Feed::Ogg(packets) = &mut feed {
            for _ in 0..mark.skip {
                packets.advance().map_err(|e| read_error(&name, e))?;
            }
        }
        let opus = params.codec == CODEC_ID_OPUS;
        Ok(Self { name, feed, decoder, opus, memory_fades: true })
    }

    /// Decodes the next packet; its number of frames, which may be 0, or None at the end.
    fn advance(&mut self) -> Result<Option<usize>> {
        let held;
        let data = match &mut self.feed {
            Feed::Ogg(packets) => match packets.advance().map_err(|e| read_error(&self.name, e))? {
                Some(packet) => packet.data,
                None => return Ok(None),
            },
            Feed::Adts(frames) => match frames.advance().map_err(|e| read_error(&self.name, e))? {
                Some((payload, _)) => payload,
                None => return Ok(None),
            },
            Feed::Matroska(blocks) => match blocks.advance().map_err(|e| read_error(&self.name, e))? {
                Some((data, _)) => data,
                None => return Ok(None),
            },
            Feed::Reader(stream) => match stream.next_packet()? {
                Some(packet) => {
                    held = packet;
                    &held.data
                }
                None => return Ok(None),
            },
        };
        self.memory_fades &= !self.opus || opus_packet::memory_fades(data);
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, data);
        let frames = self.decoder.decode(&packet);
        frames.map(Some).map_err(|e| Error::from_decoder(&self.name, "within a segment", e))
    }

    /// Samples `wanted`, when the coming packet's frames begin at sample `at`; None when the packets end too early or
    /// change their number of channels.
    pub fn read(
        &mut self,
        mut at: u64,
        wanted: Range<u64>,
        num_channels: usize,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Planes>> {
        let expected = (wanted.end - wanted.start).min(1 << 24) as usize;
        let mut planes = Planes::new(num_channels, expected);
        while at < wanted.end {
            interrupt()?;
            let Some(frames) = self.advance()? else { return Ok(None) };
            let after = at + frames as u64;
            let (from, to) = (wanted.start.clamp(at, after) - at, wanted.end.clamp(at, after) - at);
            if from < to {
                let decoded = self.decoder.last_decoded();
                if decoded.spec().channels().count() != num_channels {
                    return Ok(None);
                }
                planes.append(&self.name, &decoded, from as usize, to as usize)?;
            }
            at = after;
        }
        Ok(Some(planes))
    }

    /// Whether every packet so far was one of Opus' that a decoder forgets; see `opus_packet`.
    pub fn memory_fades(&self) -> bool {
        self.memory_fades
    }
}

pub fn read_error(name: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::corrupt(name, "the file ends too early (truncated?)"),
        io::ErrorKind::InvalidInput => Error::corrupt(name, "it points outside the file"), // a seek to there
        io::ErrorKind::InvalidData => Error::corrupt(name, error.to_string()),
        _ => Error::Io { name: name.to_owned(), source: error },
    }
}
