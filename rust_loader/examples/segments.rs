//! Reads ten-second segments of one file at 32 kHz mono, to be profiled: `valgrind --tool=callgrind
//! target/release/examples/segments FILE [COUNT]`.

use std::path::Path;

use _rust_loader::audio_segment::{Form, read_segment};
use _rust_loader::filter::Preset;
use _rust_loader::stream::Source;

const RATE_HZ: u64 = 32_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: segments FILE [COUNT]")?;
    let count: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let form = Form { sample_rate_hz: RATE_HZ as u32, num_channels: 1, preset: Preset::Julius24 };
    let mut out = vec![0.0; 10 * RATE_HZ as usize];
    let stride = out.len();
    for round in 0..count {
        let start = (17 + 41 * round % 120) * RATE_HZ;
        let segment = read_segment(Source::File(Path::new(&path)), start, stride as u64, &form, &|| Ok(()))?;
        segment.write(&mut out, stride, &|| Ok(()))?;
    }
    println!("{count} segments, the last of energy {:.3}", out.iter().map(|x| x * x).sum::<f32>());
    Ok(())
}
