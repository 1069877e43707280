//! Files, threads and memory of musicgen_core's data path. Everything in `python` is a thin binding; the rest knows
//! nothing of Python. A reader's way in: `stream` (one audio file, packet by packet) -> `decode`, `segments`;
//! `resample`, `measure`; `pattern`; `shard_index` -> `shard_read`; `track_list`, `sampler` -> `draw` -> `batch`;
//! `kernels` -> kernels/kernels.h.

pub mod batch;
pub mod checked;
pub mod decode;
pub mod draw;
pub mod error;
pub mod guard;
pub mod hash;
pub mod kernels;
pub mod measure;
pub mod memory;
pub mod mpeg;
mod mpeg_bytes;
mod mpeg_header;
mod mpeg_index;
mod mpeg_reservoir;
mod mpeg_scan;
mod mpeg_tag;
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
pub mod track_list;
pub mod watch;
