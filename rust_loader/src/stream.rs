//! One audio track of one file or byte string: opened by content (never by suffix), read packet by packet.

use std::sync::LazyLock;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as DecoderError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;

use crate::decode::Interrupt;
use crate::error::{Error, Result};
use crate::guard::reached;
use crate::matroska_trims::MatroskaTrims;
use crate::mp4_edits::{AAC_PACKET_SAMPLES, Mp4Edits};
use crate::source::id3v2_bytes;
pub use crate::source::{Source, open_file};
use crate::vorbis_setup;

pub const MAX_CHANNELS: usize = 32;
pub const MAX_SAMPLE_RATE_HZ: u32 = 768_000;

pub static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut registry = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut registry);
    registry.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
    registry
});

/// What a codec's timeline is like, and so what may be trusted and how a segment is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// WAV, AIFF, FLAC, ALAC: every packet stands alone and knows its position.
    Lossless,
    /// Vorbis in Ogg.
    Vorbis,
    /// Opus in Ogg.
    Opus,
    /// Bare MPEG audio, which src/mpeg.rs reads.
    Mpeg,
    /// AAC in MP4 or bare.
    Aac,
    /// Everything else: length and positions are not to be relied on.
    Other,
}

pub struct Stream<'s> {
    pub name: String,
    pub reader: Box<dyn FormatReader + 's>,
    pub decoder: Box<dyn AudioDecoder>,
    pub track: Track,
    pub family: Family,
    /// Length of the file.
    pub source_bytes: u64,
    /// Length of a leading ID3v2 tag, which may hold pictures.
    pub tag_bytes: u64,
    /// Samples to drop before sample 0: Opus pre-skip, which the decoder is told nothing of, or the container's edits.
    pub skip: u64,
    /// Samples to drop after the last one, where only a decode tells how many there are.
    pub padding: u64,
    /// Bytes that a Matroska header promises and the file lacks.
    pub missing_bytes: u64,
    /// What the boxes of an MP4 file say of AAC or ALAC in it.
    pub edits: Option<Mp4Edits>,
    /// Output gain of an Opus header.
    pub gain: f32,
    /// Rate and channels; from the header, or from the first decoded packet when the header is silent.
    spec: Option<(u32, usize)>,
    packet_bytes: u64,
    /// A packet that was read to find it, and is yet to come.
    pending: Option<Packet>,
    /// Position of the packet that was read last, for errors.
    reached: i64,
}

/// A decoded packet's place: its frames (trims applied) begin at sample `position` of the track.
#[derive(Clone, Copy)]
pub struct Place {
    pub position: i64,
    pub num_frames: usize,
}

impl<'s> Stream<'s> {
    /// `verify`: let the decoder check what it can (FLAC: the MD5 of all samples) for `verified`.
    pub fn open(source: Source<'s>, verify: bool) -> Result<Self> {
        let name = source.name();
        let (mut media, source_bytes) = source.open()?;
        if source_bytes == 0 {
            return Err(Error::corrupt(&name, "the file is empty"));
        }
        let tag_bytes = id3v2_bytes(&mut media).map_err(|source| Error::Io { name: name.clone(), source })?;
        let stream = MediaSourceStream::new(media, Default::default());
        let reader = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| match e {
                DecoderError::Unsupported(_) => Error::unsupported(&name, "not audio, or of a format that is not read"),
                other => Error::from_decoder(&name, &format!("opening its {source_bytes} bytes"), other),
            })?;
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or_else(|| Error::unsupported(&name, "holds no audio track"))?
            .clone();
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            return Err(Error::unsupported(&name, "holds no audio track of a known codec"));
        };
        let mut params = params.clone();
        let (mut skip, gain) = if params.codec == CODEC_ID_OPUS { opus_header(&mut params) } else { (0, 1.0) };
        let spec = match (params.sample_rate, &params.channels) {
            (Some(rate), Some(channels)) => Some((rate, channels.count())),
            _ => None,
        };
        if let Some(spec) = spec {
            check_limits(&name, spec)?; // before the decoder makes buffers for them
        }
        if let (CODEC_ID_VORBIS, Some(extra_data)) = (params.codec, &params.extra_data) {
            vorbis_setup::check(&name, extra_data)?;
        }
        let decoder = CODECS
            .make_audio_decoder(&params, &AudioDecoderOptions::default().verify(verify))
            .map_err(|e| Error::from_decoder(&name, &format!("opening its {source_bytes} bytes"), e))?;
        let family = family(reader.format_info().short_name, decoder.codec_info().short_name);
        let (mut edits, mut padding, mut missing_bytes) = (None, 0, 0);
        match (reader.format_info().short_name, spec) {
            ("isomp4", Some((rate_hz, _))) if matches!(family, Family::Aac | Family::Lossless) => {
                let packet_samples = (family == Family::Aac).then_some(AAC_PACKET_SAMPLES);
                edits = Mp4Edits::read(source.open()?.0, track.id, rate_hz, packet_samples);
                skip = edits.as_ref().map_or(0, |edits| edits.skip);
            }
            ("matroska", Some((rate_hz, _))) => {
                let trims = MatroskaTrims::read(source.open()?.0, track.id, rate_hz).unwrap_or_default();
                (skip, padding, missing_bytes) = (skip.max(trims.delay), trims.padding, trims.missing_bytes);
            }
            _ => {}
        }
        Ok(Self {
            name,
            reader,
            decoder,
            track,
            family,
            source_bytes,
            tag_bytes,
            skip,
            padding,
            missing_bytes,
            edits,
            gain,
            spec,
            packet_bytes: 0,
            pending: None,
            reached: 0,
        })
    }

    pub fn container(&self) -> &'static str {
        self.reader.format_info().short_name
    }

    pub fn codec(&self) -> &'static str {
        self.decoder.codec_info().short_name
    }

    /// Whether the codec's samples are integers.
    pub fn is_integer(&self) -> bool {
        let codec = self.codec();
        matches!(codec, "flac" | "alac") || codec.starts_with("pcm_") && !codec.starts_with("pcm_f")
    }

    /// Rate in Hz and channels, once known.
    pub fn spec(&self) -> Option<(u32, usize)> {
        self.spec
    }

    /// Samples per channel that the header promises, trims applied; None where no header says so reliably.
    pub fn declared_samples(&self) -> Option<u64> {
        let edited = self.edits.as_ref().and_then(|edits| edits.num_samples);
        match self.family {
            Family::Aac => edited,
            Family::Other | Family::Mpeg => None,
            _ if edited.is_some() => edited,
            _ => self.track.num_frames.map(|n| n.saturating_sub(self.skip)),
        }
    }

    /// The next packet of the track, undecoded; None at the end.
    pub fn next_packet(&mut self) -> Result<Option<Packet>> {
        if self.pending.is_some() {
            return Ok(self.pending.take());
        }
        loop {
            let packet = self.reader.next_packet().map_err(|e| self.error(e))?;
            if packet.as_ref().is_none_or(|packet| packet.track_id == self.track.id) {
                if let Some(packet) = &packet {
                    self.packet_bytes += packet.data.len() as u64;
                    self.reached = packet.pts.get();
                    if let Some((rate_hz, _)) = self.spec {
                        reached(self.reached as f64 / f64::from(rate_hz));
                    }
                }
                return Ok(packet);
            }
        }
    }

    /// Decodes the next packet that has frames; None at the end. The frames are in `decoded()`.
    pub fn advance(&mut self) -> Result<Option<Place>> {
        loop {
            let Some(mut packet) = self.next_packet()? else { return Ok(None) };
            if matches!(self.family, Family::Vorbis | Family::Opus) {
                // Symphonia trims every page to its stamp; only the stream's end is meant to be (RFC 7845, 4.5).
                packet.trim_end = Default::default();
            }
            let num_frames = self.decode(&packet)?;
            if num_frames > 0 {
                return Ok(Some(Place { position: self.position(&packet), num_frames }));
            }
        }
    }

    /// Decodes a packet; the number of its frames.
    pub fn decode(&mut self, packet: &Packet) -> Result<usize> {
        let decoded = self
            .decoder
            .decode(packet)
            .map(|buffer| (buffer.frames(), (buffer.spec().rate(), buffer.spec().channels().count())));
        let (num_frames, spec) = decoded.map_err(|e| self.error_at(self.position(packet), e))?;
        if num_frames > 0 {
            self.check_spec(spec)?;
        }
        Ok(num_frames)
    }

    /// The sample at which a packet's frames begin, by its time stamp.
    pub fn position(&self, packet: &Packet) -> i64 {
        packet.pts.get().saturating_add_unsigned(packet.trim_start.get()).saturating_sub_unsigned(self.skip)
    }

    /// The frames of the packet that `advance` decoded.
    pub fn decoded(&self) -> GenericAudioBufferRef<'_> {
        self.decoder.last_decoded()
    }

    /// What the decoder found when it checked the whole stream; None when it cannot or was not asked to.
    pub fn verified(&mut self) -> Option<bool> {
        self.decoder.finalize().verify_ok
    }

    /// Positions the stream at or before `position`; false when the container cannot.
    pub fn seek(&mut self, position: u64) -> bool {
        let Ok(position) = i64::try_from(position + self.skip) else { return false };
        let to = SeekTo::Timestamp { ts: Timestamp::new(position), track_id: self.track.id };
        let found = self.reader.seek(SeekMode::Accurate, to).is_ok_and(|seeked| seeked.actual_ts.get() <= position);
        self.decoder.reset();
        found
    }

    /// Positions the stream at the first packet with this time stamp; false when there is none.
    pub fn seek_to_stamp(&mut self, stamp: u64) -> bool {
        let Ok(wanted) = i64::try_from(stamp) else { return false };
        let to = SeekTo::Timestamp { ts: Timestamp::new(wanted), track_id: self.track.id };
        if self.reader.seek(SeekMode::Accurate, to).is_err() {
            return false;
        }
        self.decoder.reset();
        while let Ok(Some(packet)) = self.next_packet() {
            if packet.pts.get() >= wanted {
                let found = packet.pts.get() == wanted;
                self.pending = Some(packet);
                return found;
            }
        }
        false
    }

    /// Frames in all packets, by reading them without decoding: `frames_per_packet` each, or their own duration.
    pub fn count_samples(&mut self, frames_per_packet: Option<u64>, interrupt: Interrupt<'_>) -> Result<u64> {
        let mut total = 0u64;
        while let Some(packet) = self.next_packet()? {
            interrupt()?;
            total += frames_per_packet.unwrap_or_else(|| self.frames_in(&packet));
        }
        self.check_plausible()?;
        Ok(total.min(self.end().unwrap_or(u64::MAX)))
    }

    /// Where the last sample ends, skipped ones counted, if the header says so: pages and packets may hold more.
    pub fn end(&self) -> Option<u64> {
        self.declared_samples().map(|samples| samples + self.skip)
    }

    /// Frames that decoding a packet gives, without trims at the stream's end. (Symphonia 0.6.1 takes the trims off the
    /// duration of Ogg packets, but not of MPEG's.)
    pub fn frames_in(&self, packet: &Packet) -> u64 {
        match self.family {
            Family::Vorbis | Family::Opus => packet.dur.get() + packet.trim_end.get(),
            _ => packet.dur.get(),
        }
    }

    /// A stream of bare AAC frames is recognised by a few bits, which junk has too: most of the file must be frames.
    pub fn check_plausible(&self) -> Result<()> {
        let audio_bytes = self.source_bytes.saturating_sub(self.tag_bytes);
        if self.container() == "aac" && self.packet_bytes * 4 < audio_bytes {
            let message = format!(
                "only {} of {} bytes are {} frames; not an audio file, or damaged",
                self.packet_bytes,
                audio_bytes,
                self.codec()
            );
            return Err(Error::corrupt(&self.name, message));
        }
        Ok(())
    }

    fn check_spec(&mut self, spec: (u32, usize)) -> Result<()> {
        check_limits(&self.name, spec)?;
        let (rate, channels) = spec;
        match self.spec {
            Some(known) if known != spec => {
                let message = format!(
                    "at {}: changes from {} Hz x {} channels to {rate} Hz x {channels} channels",
                    self.place(self.reached),
                    known.0,
                    known.1
                );
                Err(Error::corrupt(&self.name, message))
            }
            _ => {
                self.spec = Some(spec);
                Ok(())
            }
        }
    }

    fn error(&self, error: DecoderError) -> Error {
        let doing = match self.reached {
            1.. => format!("after {}", self.place(self.reached)),
            _ => format!("reading its {} bytes", self.source_bytes),
        };
        Error::from_decoder(&self.name, &doing, error)
    }

    fn error_at(&self, position: i64, error: DecoderError) -> Error {
        Error::from_decoder(&self.name, &format!("at {}", self.place(position)), error)
    }

    fn place(&self, position: i64) -> String {
        match self.spec {
            Some((rate, _)) => format!("{:.3} s", position as f64 / f64::from(rate)),
            None => "the start".to_owned(),
        }
    }
}

fn check_limits(name: &str, (rate, channels): (u32, usize)) -> Result<()> {
    if !(1..=MAX_SAMPLE_RATE_HZ).contains(&rate) {
        let message = format!("sample rate {rate} Hz is outside 1..={MAX_SAMPLE_RATE_HZ}");
        return Err(Error::limit(name, message));
    }
    if !(1..=MAX_CHANNELS).contains(&channels) {
        return Err(Error::limit(name, format!("{channels} channels; at most {MAX_CHANNELS} are read")));
    }
    Ok(())
}

fn family(container: &str, codec: &str) -> Family {
    match (container, codec) {
        ("wave" | "aiff", codec) if codec.starts_with("pcm_") => Family::Lossless,
        ("flac", "flac") | ("isomp4", "alac") => Family::Lossless,
        ("ogg", "vorbis") => Family::Vorbis,
        ("ogg", "opus") => Family::Opus,
        ("mp1" | "mp2" | "mp3", _) => Family::Mpeg,
        ("isomp4" | "aac", "aac") => Family::Aac,
        _ => Family::Other,
    }
}

/// Takes the pre-skip and gain out of an OpusHead (RFC 7845, section 5.1), so that the decoder, which would drop at most
/// one packet, drops nothing.
fn opus_header(params: &mut AudioCodecParameters) -> (u64, f32) {
    let Some(head) = params.extra_data.take().filter(|head| head.len() >= 18) else { return (0, 1.0) };
    let pre_skip = u16::from_le_bytes([head[10], head[11]]);
    let gain_q8_db = i16::from_le_bytes([head[16], head[17]]);
    (u64::from(pre_skip), 10f32.powf(f32::from(gain_q8_db) / (20.0 * 256.0)))
}
