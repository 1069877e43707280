//! Files, threads and memory of musicgen_core's data path. Everything in `python` is a thin binding; the rest knows
//! nothing of Python. A reader's way in: `stream` (one audio file, packet by packet) -> `decode`, `segments`;
//! `filter` -> `resample` -> `audio_segment`; `measure`; `pattern`, `sampler`; `shard_index` -> `shard_read`; `kernels`.

pub mod audio_segment;
pub mod decode;
pub mod error;
pub mod filter;
pub mod hash;
pub mod kernels;
pub mod measure;
pub mod npy;
pub mod pattern;
pub mod planes;
#[cfg(feature = "python")]
mod python;
pub mod resample;
pub mod sampler;
pub mod segments;
pub mod shard_index;
pub mod shard_read;
pub mod stream;
pub mod tags;
