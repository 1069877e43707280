//! MPEG audio, layers II and III: whole files and segments by one path, frame by frame from the index, so that a segment
//! costs the same wherever it lies and is bit-equal to the slice of the whole.

use std::sync::Arc;

use symphonia::core::audio::layouts::{CHANNEL_LAYOUT_MONO, CHANNEL_LAYOUT_STEREO};
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP2;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as DecoderError;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use crate::decode::{Interrupt, Range};
use crate::error::{Error, Result};
use crate::mpeg_bytes::Bytes;
use crate::mpeg_header::{HEAD_BYTES, Header, Layer, MainData};
use crate::mpeg_index::{Index, recall, remember};
use crate::mpeg_layer3::LayerThree;
use crate::mpeg_reservoir::{MAX_REACH_FRAMES, start_for};
use crate::planes::Planes;
use crate::stream::Source;

pub struct Mpeg<'s> {
    bytes: Bytes<'s>,
    index: Arc<Index>,
}

impl<'s> Mpeg<'s> {
    /// None for other formats. Looks at the first bytes only, or, if `anywhere`, also for frames behind junk.
    pub fn open(source: Source<'s>, anywhere: bool) -> Result<Option<Self>> {
        let mut bytes = Bytes::open(source)?;
        if let Some(index) = recall(&bytes) {
            return Ok(Some(Self { bytes, index }));
        }
        let index = Index::open(&mut bytes, anywhere)?;
        Ok(index.map(|index| Self { bytes, index: Arc::new(index) }))
    }

    pub fn header(&self) -> Header {
        self.index.extent.header
    }

    /// "mp2" or "mp3"; the name of the container, too.
    pub fn codec(&self) -> &'static str {
        match self.header().layer {
            Layer::Two => "mp2",
            Layer::Three => "mp3",
        }
    }

    /// Samples per channel: as declared by a tag that fits the file's size, otherwise by finding every frame.
    pub fn num_samples(&mut self, interrupt: Interrupt<'_>) -> Result<u64> {
        let end = match self.index.declared_end().filter(|_| self.index.is_as_declared()) {
            Some(end) => end,
            None => self.end(u64::MAX, interrupt)?,
        };
        Ok(end.saturating_sub(self.index.gapless().delay))
    }

    /// Samples `start .. start + count`, fewer at the end.
    pub fn read(&mut self, start: u64, count: u64, interrupt: Interrupt<'_>) -> Result<Range> {
        let delay = self.index.gapless().delay;
        let from = start.saturating_add(delay);
        let to = self.end(from.saturating_add(count), interrupt)?;
        let planes =
            if from < to { self.decode(from, to, interrupt)? } else { Planes::new(self.header().num_channels, 0) };
        let Header { sample_rate_hz, num_channels, .. } = self.header();
        Ok(Range { planes, sample_rate_hz, num_channels, jumps: 0, integer: false })
    }

    /// Finds every frame and fails where some are missing or cut.
    pub fn check_complete(&mut self, interrupt: Interrupt<'_>) -> Result<()> {
        self.find(u64::MAX, interrupt)?;
        self.index.check_complete(&self.bytes.name)
    }

    /// Where the music ends, in samples from the first frame, or `wanted` if that comes before: not all of a file need
    /// be looked through to know that a segment is inside it.
    fn end(&mut self, wanted: u64, interrupt: Interrupt<'_>) -> Result<u64> {
        let declared = self.index.declared_end();
        let wanted = match declared {
            Some(end) if self.index.is_as_declared() => wanted.min(end),
            _ => wanted,
        };
        let spf = self.header().num_samples();
        // A tag that does not say how many frames there are says what is to be left out at their end all the same.
        let padding = if declared.is_none() { self.index.gapless().padding } else { 0 };
        let needed = wanted.saturating_add(padding);
        self.find(needed.div_ceil(spf), interrupt)?;
        let is_there = self.index.num_frames * spf >= needed;
        let is_inside = declared.is_none_or(|end| wanted <= end);
        let is_regular = self.index.tag.is_none_or(|tag| tag.num_frames.is_none()) || self.index.junk_bytes() == 0;
        if is_there && is_inside && is_regular {
            return Ok(wanted);
        }
        self.check_complete(interrupt)?;
        Ok(self.index.found_end().min(wanted))
    }

    /// Extends the index to `num_frames`, or to the end.
    fn find(&mut self, num_frames: u64, interrupt: Interrupt<'_>) -> Result<()> {
        if self.index.num_frames < num_frames && !self.index.is_complete() {
            Arc::make_mut(&mut self.index).extend(&mut self.bytes, num_frames, interrupt)?;
            remember(&self.bytes, &self.index);
        }
        Ok(())
    }

    /// Samples `from..to`, counted from the first frame, all of whose frames are found.
    fn decode(&mut self, from: u64, to: u64, interrupt: Interrupt<'_>) -> Result<Planes> {
        let first = from / self.header().num_samples();
        if first > 0 {
            let start = self.start_for(first)?;
            if let Some(planes) = self.decode_from(start, from, to, interrupt)? {
                return Ok(planes);
            }
        }
        self.decode_from(0, from, to, interrupt)?
            .ok_or_else(|| Error::corrupt(&self.bytes.name, "frames are damaged before the segment"))
    }

    /// The frame to begin with so that frame `first` comes out as if all before it had been decoded.
    fn start_for(&mut self, first: u64) -> Result<u64> {
        let header = self.header();
        let lead = header.lead_frames();
        let Some(target) = first.checked_sub(lead) else { return Ok(0) };
        if header.layer == Layer::Two {
            return Ok(target);
        }
        let oldest = target.saturating_sub(MAX_REACH_FRAMES);
        let (mut frame, mut scan) = self.index.frame(&mut self.bytes, oldest)?;
        let mut main_data: Vec<MainData> = Vec::with_capacity((target - oldest) as usize + 1);
        loop {
            main_data.push(frame.header.main_data(self.bytes.get(frame.at, HEAD_BYTES)?));
            if main_data.len() as u64 > target - oldest {
                break;
            }
            match self.index.extent.next(&mut self.bytes, &mut scan)? {
                Some(next) => frame = next,
                None => return Ok(0),
            }
        }
        Ok(start_for(&main_data, main_data.len() - 1).map_or(0, |start| oldest + start as u64))
    }

    /// Decodes from frame `start` and keeps samples `from..to`; None when a frame before those cannot be decoded, which
    /// need not be so when an earlier one is decoded first.
    fn decode_from(&mut self, start: u64, from: u64, to: u64, interrupt: Interrupt<'_>) -> Result<Option<Planes>> {
        let spf = self.header().num_samples();
        let mut planes = Planes::new(self.header().num_channels, ((to - from) as usize).min(1 << 30));
        let mut decoder = self.decoder()?;
        let (mut frame, mut scan) = self.index.frame(&mut self.bytes, start)?;
        let mut at = start * spf;
        loop {
            interrupt()?;
            let data = self.bytes.get(frame.at, frame.header.num_bytes)?;
            let (lo, hi) = (from.clamp(at, at + spf) - at, to.clamp(at, at + spf) - at);
            match decoder.decode(&frame.header, data) {
                Ok(()) if lo == hi => {}
                Ok(()) => decoder.append_to(&mut planes, &self.bytes.name, lo as usize..hi as usize)?,
                Err(_) if start > 0 && at + spf <= from => return Ok(None),
                Err(error) => {
                    let seconds = at.saturating_sub(self.index.gapless().delay) as f64;
                    let doing = format!("at {:.3} s", seconds / f64::from(frame.header.sample_rate_hz));
                    return Err(Error::from_decoder(&self.bytes.name, &doing, error));
                }
            }
            at += spf;
            if at >= to {
                return Ok(Some(planes));
            }
            frame = match self.index.extent.next(&mut self.bytes, &mut scan)? {
                Some(frame) => frame,
                None => return Err(Error::corrupt(&self.bytes.name, "changed while it was read")),
            };
        }
    }

    fn decoder(&self) -> Result<FrameDecoder> {
        let header = self.header();
        if header.layer == Layer::Three {
            return Ok(FrameDecoder::Three(Box::new(LayerThree::new(&header))));
        }
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(CODEC_ID_MP2)
            .with_sample_rate(header.sample_rate_hz)
            .with_channels(if header.num_channels == 1 { CHANNEL_LAYOUT_MONO } else { CHANNEL_LAYOUT_STEREO });
        symphonia::default::get_codecs()
            .make_audio_decoder(&params, &AudioDecoderOptions::default())
            .map(FrameDecoder::Two)
            .map_err(|e| Error::from_decoder(&self.bytes.name, "opening", e))
    }
}

/// Layer III is decoded here, layer II by Symphonia.
enum FrameDecoder {
    Two(Box<dyn AudioDecoder>),
    Three(Box<LayerThree>),
}

impl FrameDecoder {
    fn decode(&mut self, header: &Header, frame: &[u8]) -> std::result::Result<(), DecoderError> {
        match self {
            Self::Two(decoder) => {
                let packet = PacketRef::new(0, Timestamp::ZERO, Duration::from(header.num_samples()), frame);
                decoder.decode_ref(&packet).map(|_| ())
            }
            Self::Three(decoder) => decoder.decode(header, frame).map_err(DecoderError::DecodeError),
        }
    }

    /// Samples `range` of the frame that was decoded.
    fn append_to(&self, planes: &mut Planes, name: &str, range: std::ops::Range<usize>) -> Result<()> {
        match self {
            Self::Two(decoder) => planes.append(name, &decoder.last_decoded(), range.start, range.end),
            Self::Three(decoder) => planes.append_with(name, range.len(), |channel, row| {
                row.copy_from_slice(&decoder.samples(channel)[range.clone()]);
            }),
        }
    }
}
