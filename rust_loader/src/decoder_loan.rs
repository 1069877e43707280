//! Decoders that are used again. A Vorbis stream begins with its code books, about as long to set up as a second of
//! music is to decode, and the same in every file of one encoder, rate and quality: so decoders rest here by that header.

use std::sync::Mutex;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Result;
use symphonia::core::packet::PacketRef;

use crate::stream::CODECS;

/// Enough for a few threads on a few kinds of files; each holds about a megabyte.
const MAX_RESTING: usize = 8;

/// Least recently used first.
static RESTING: Mutex<Vec<Box<dyn AudioDecoder>>> = Mutex::new(Vec::new());

/// A decoder in the state of a new one, which goes back unless it failed.
pub struct Loan {
    /// None only while it goes back.
    decoder: Option<Box<dyn AudioDecoder>>,
    failed: bool,
}

impl Loan {
    pub fn new(params: &AudioCodecParameters) -> Result<Self> {
        let decoder = match take(params) {
            Some(decoder) => decoder,
            None => CODECS.make_audio_decoder(params, &AudioDecoderOptions::default())?,
        };
        Ok(Self { decoder: Some(decoder), failed: false })
    }

    /// Decodes a packet; the number of its frames.
    pub fn decode(&mut self, packet: &PacketRef<'_>) -> Result<usize> {
        let decoder = self.decoder.as_mut().expect("it has not gone back");
        let frames = decoder.decode_ref(packet).map(|buffer| buffer.frames());
        self.failed |= frames.is_err();
        frames
    }

    /// The frames of the last packet.
    pub fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.decoder.as_ref().expect("it has not gone back").last_decoded()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(mut decoder) = self.decoder.take() else { return };
        if self.failed || std::thread::panicking() || decoder.codec_params().codec != CODEC_ID_VORBIS {
            return;
        }
        decoder.reset();
        // A process forked while another thread held the lock never gets it, and does without.
        if let Ok(mut resting) = RESTING.try_lock() {
            if resting.len() == MAX_RESTING {
                resting.remove(0);
            }
            resting.push(decoder);
        }
    }
}

fn take(params: &AudioCodecParameters) -> Option<Box<dyn AudioDecoder>> {
    let header = params.extra_data.as_ref().filter(|_| params.codec == CODEC_ID_VORBIS)?;
    let mut resting = RESTING.try_lock().ok()?;
    let fits = |decoder: &dyn AudioDecoder| {
        let other = decoder.codec_params();
        other.extra_data.as_ref() == Some(header)
            && other.sample_rate == params.sample_rate
            && other.channels == params.channels
    };
    let at = resting.iter().rposition(|decoder| fits(decoder.as_ref()))?;
    Some(resting.remove(at))
}
