//! Part of an Opus stream, bit-equal to the whole decode.
//!
//! An Opus decoder's state is never quite forgotten, so no fixed pre-roll is enough by itself: RFC 7845, section 4.6,
//! asks for 80 ms, after which errors are up to 0.2; the CELT modes were measured to need up to 0.84 s until the last
//! bit; SILK and hybrid took up to 8 s on a held tone, and two decoders that began at different places agreed for 0.2 s
//! while both differed from the whole decode by 0.01 (docs/formats.md). Hence:
//!
//! - a stretch that holds a SILK or hybrid packet, or one that asks for concealment, is decoded from the stream's start;
//! - CELT is decoded from two places; only if they agree to the bit over the last 0.1 s before the segment is the
//!   further one believed, else two places further back are tried, and last the start.

use std::path::Path;

use crate::decode::Interrupt;
use crate::error::Result;
use crate::packets::{Mark, PacketRun};
use crate::planes::Planes;
use crate::seek_index::SeekIndex;

/// Samples at 48 kHz before the segment at which the nearer decoder begins, and how far before it the other.
const PRE_ROLLS: [(u64, u64); 2] = [(43_200, 9600), (230_400, 115_200)];
/// Samples before the segment over which they must agree.
const OVERLAP: u64 = 4800;

/// Samples `from..to`, counted from the first decoded one; None when the index does not fit the file.
pub fn read(path: &Path, index: &SeekIndex, from: u64, to: u64, interrupt: Interrupt<'_>) -> Result<Option<Planes>> {
    let run = |mark: Mark| PacketRun::new(path, index.access, &index.params, mark);
    for (near, apart) in PRE_ROLLS {
        let near = index.mark(from.saturating_sub(near));
        let far = index.mark(near.at.saturating_sub(apart));
        if far.at == 0 {
            break;
        }
        let mut run_far = run(far)?;
        let Some(mut planes) = run_far.read(far.at, from - OVERLAP..to, index.num_channels, interrupt)? else {
            return Ok(None);
        };
        if !run_far.memory_fades() {
            break;
        }
        let Some(mut check) = run(near)?.read(near.at, from - OVERLAP..from, index.num_channels, interrupt)? else {
            return Ok(None);
        };
        planes.flush_tiny();
        check.flush_tiny();
        if planes.begins_with(&check) {
            planes.drop_front(OVERLAP as usize);
            return Ok(Some(planes));
        }
    }
    let start = index.mark(0);
    let planes = run(start)?.read(start.at, from..to, index.num_channels, interrupt)?;
    Ok(planes.map(|mut planes| {
        planes.flush_tiny();
        planes
    }))
}
