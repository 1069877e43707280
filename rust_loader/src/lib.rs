//! Files, threads and memory of musicgen_core's data path. Everything in `python` is a thin binding; the rest knows
//! nothing of Python. A reader's way in: `stream` (one audio file, packet by packet), `mpeg` -> `mpeg_layer3` ->
//! `decode`; `segments` -> `pcm_segment`, `mpeg`, `flac_frame`, `seek_index` -> `packets`, `opus_segment`; `filter` ->
//! `resample` -> `audio_segment`; `measure`; `folder_list`; `pattern`; `shard_index` -> `shard_read`; `track_list`,
//! `sampler` -> `draw` -> `batch`; `kernels`.

pub mod adts_frames;
pub mod audio_segment;
pub mod batch;
mod bits;
pub mod checked;
pub mod decode;
mod decoder_loan;
pub mod draw;
pub mod error;
pub mod filter;
pub mod first_use;
pub mod flac_frame;
pub mod folder_list;
pub mod guard;
pub mod hash;
pub mod kernels;
mod lanes;
pub mod matroska_blocks;
pub mod matroska_trims;
pub mod measure;
pub mod memory;
pub mod mp4_edits;
pub mod mpeg;
mod mpeg_bands;
mod mpeg_bytes;
mod mpeg_codes;
pub mod mpeg_header;
mod mpeg_hybrid;
mod mpeg_index;
pub mod mpeg_layer3;
mod mpeg_reservoir;
mod mpeg_scan;
mod mpeg_side_info;
mod mpeg_spectrum;
mod mpeg_stereo;
mod mpeg_synthesis;
mod mpeg_tag;
pub mod npy;
pub mod ogg_pages;
pub mod opus_packet;
pub mod opus_segment;
pub mod packets;
pub mod pattern;
mod pcm_samples;
pub mod pcm_segment;
pub mod planes;
#[cfg(feature = "python")]
mod python;
pub mod resample;
pub mod sampler;
pub mod seek_cache;
pub mod seek_index;
pub mod segments;
pub mod shard_index;
pub mod shard_read;
pub mod source;
pub mod stream;
pub mod tags;
pub mod track_list;
mod vorbis_setup;
pub mod watch;
