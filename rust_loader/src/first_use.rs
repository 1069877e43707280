//! What would otherwise be built at first use. A process that is forked while another thread is in the midst of that
//! finds it half built and nobody who goes on: it would wait for ever. So everything is built before there is a thread.

use std::sync::LazyLock;

use crate::error::Result;
use crate::stream::{CODECS, Source, Stream};
use crate::tags::read_tags;
use crate::{filter, mpeg_index, mpeg_layer3, pcm_segment, seek_index};

/// Symphonia's tables are its own, and built by what first needs them: small files that need them all. (But one: where
/// AAC's intensity stereo is looked up, 256 numbers that are built in some microseconds.)
const CLIPS: [&[u8]; 6] = [
    include_bytes!("../tests/seeds/aac.m4a"),
    include_bytes!("../tests/seeds/flac.flac"),
    include_bytes!("../tests/seeds/mkv_flac.mkv"),
    include_bytes!("../tests/seeds/mp3_lame.mp3"),
    include_bytes!("../tests/seeds/vorbis.ogg"),
    include_bytes!("../tests/seeds/wav_s24.wav"),
];

/// Called once, when Python loads the extension; takes a few milliseconds.
pub fn prepare() {
    LazyLock::force(&CODECS);
    symphonia::default::get_codecs();
    symphonia::default::get_probe();
    mpeg_layer3::prepare();
    filter::prepare();
    mpeg_index::prepare();
    pcm_segment::prepare();
    seek_index::prepare();
    for data in CLIPS {
        // A clip that cannot be read leaves its tables to their first use; a test says so.
        let _ = read(data);
    }
}

/// Decodes a clip with its tags by Symphonia alone; the number of its samples.
fn read(data: &[u8]) -> Result<usize> {
    let mut stream = Stream::open(Source::Bytes { name: "a clip of the extension", data }, true)?;
    read_tags(&mut stream);
    let mut num_samples = 0;
    while let Some(place) = stream.advance()? {
        num_samples += place.num_frames;
    }
    Ok(num_samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clip_can_be_read_and_has_tags() {
        for data in CLIPS {
            assert!(read(data).unwrap() > 0);
            let mut stream = Stream::open(Source::Bytes { name: "clip", data }, false).unwrap();
            let wanted = match stream.container() {
                "wave" => continue,      // without tags
                "matroska" => "comment", // its title is no tag
                _ => "title",
            };
            let names: Vec<String> = read_tags(&mut stream).into_iter().map(|(name, _)| name).collect();
            assert!(names.iter().any(|name| name == wanted), "{}: {names:?}", stream.container());
        }
    }

    /// A `static` that is built at its first use, without a line that builds it beforehand, is what this file is about.
    #[test]
    fn nothing_of_ours_is_left_to_its_first_use() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let sources: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|suffix| suffix == "rs"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let mut found = 0;
        for source in &sources {
            for line in source.lines().map(str::trim_start) {
                let line = line.strip_prefix("pub ").unwrap_or(line);
                let Some((name, kind)) = line.strip_prefix("static ").and_then(|rest| rest.split_once(": ")) else {
                    continue;
                };
                let (lazy, cache) = (kind.starts_with("LazyLock<"), kind.starts_with("SeekCache<"));
                let built = if lazy { format!("LazyLock::force(&{name})") } else { format!("{name}.prepare()") };
                // in the midst of what builds another
                if !(lazy || cache) || name == "CODES" {
                    continue;
                }
                found += 1;
                assert!(sources.iter().any(|source| source.contains(&built)), "nothing calls {built}");
            }
        }
        assert!(found >= 12, "{found}");
    }
}
