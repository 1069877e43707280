//! Every call that can be long asks whether it was interrupted: with a caller who always was, none of them gets far.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use _rust_loader::audio_segment::{Form, read_segment};
use _rust_loader::batch::{Layout, TokenSampler, cut};
use _rust_loader::decode::{Interrupt, decode};
use _rust_loader::draw::{Options, Sampler};
use _rust_loader::error::{Error, Result};
use _rust_loader::filter::Preset;
use _rust_loader::hash;
use _rust_loader::resample::resample;
use _rust_loader::segments::decode_segment;
use _rust_loader::shard_read::TokenShards;
use _rust_loader::stream::Source;
use _rust_loader::track_list::{self, Chance, Columns, TrackList};

const INTERRUPTED: Interrupt<'static> = &|| Err(Error::Interrupted);
const GO_ON: Interrupt<'static> = &|| Ok(());

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds")
}

fn check<T>(what: &str, result: Result<T>) {
    assert!(matches!(result, Err(Error::Interrupted)), "{what} is not interrupted");
}

#[test]
fn audio_of_every_format() {
    let form = |rate| Form { sample_rate_hz: rate, num_channels: 1, preset: Preset::Julius24 };
    for entry in std::fs::read_dir(seeds()).expect("the seeds are committed") {
        let path = entry.expect("readable").path();
        if !path.is_file() || path.extension().is_some_and(|suffix| suffix == "py") {
            continue;
        }
        let (name, source) = (path.display(), Source::File(&path));
        check(&format!("decode of {name}"), decode(source, INTERRUPTED));
        for from_start in [false, true] {
            let part = decode_segment(source, 100, 500, from_start, INTERRUPTED);
            check(&format!("a segment of {name}, from start: {from_start}"), part);
            decode_segment(source, 100, 500, from_start, GO_ON).expect("a good file");
        }
        check(&format!("a resampled segment of {name}"), read_segment(source, 100, 500, &form(8000), INTERRUPTED));
        let segment = read_segment(source, 100, 300, &form(8000), GO_ON).expect("a good file");
        let mut out = [0.0; 300];
        check(&format!("the resampling of a segment of {name}"), segment.write(&mut out, 300, INTERRUPTED));
    }
}

#[test]
fn arrays() {
    check("resample", resample(&[0.0; 50], 1, Preset::Hq, 3, 2, INTERRUPTED));
    check("hash_bytes", hash::of_many_bytes(b"some", INTERRUPTED));
}

#[test]
fn draws_and_cuts() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("interrupts-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let manifest = folder.join("train.jsonl");
    std::fs::write(&manifest, "{}\n{}\n").expect("writable");
    let tokens = Arc::new(indexed(&folder));
    let keys: Vec<_> = (0..2).map(|track| tokens.record(track).key).collect();
    track_list::write(&manifest, &Columns { keys: &keys, num_samples: &[5, 40], weights: &[1.0, 1.0] }).unwrap();
    let lists = vec![Arc::new(TrackList::open(&manifest).unwrap())];
    let (chance, shares) = (Chance::Equal, None);
    let options = Options { seed: 1, stream: 0, chance, replacement: true, shares, epoch_samples: None };
    let sampler = TokenSampler::new(Sampler::new(lists, options).unwrap(), vec![tokens], 8, 0.5).unwrap();
    check("draw", sampler.draw(0, 10, INTERRUPTED));
    check("check", sampler.check(INTERRUPTED));
    let drawn = sampler.draw(0, 10, GO_ON).unwrap();
    let (mut out, layout) = (vec![0u16; 10 * 4 * 8], Layout::plain(4, 8).unwrap());
    let mut cut_with = |num_threads, interrupt| {
        let columns = [&drawn.lists[..], &drawn.rows, &drawn.starts];
        cut(sampler.shards(), columns, &layout, 2048, &mut out, &mut [], num_threads, interrupt)
    };
    check("cut", cut_with(1, INTERRUPTED));
    cut_with(1, GO_ON).unwrap();
    cut_with(3, GO_ON).unwrap();
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

/// The seed shard, with an index of its own.
fn indexed(folder: &Path) -> TokenShards {
    let index = folder.join("index.bin");
    std::fs::copy(seeds().join("tokens/a.tar"), folder.join("a.tar")).expect("writable");
    let codec = "0123456789abcdef0123456789abcdef";
    _rust_loader::shard_index::write(&index, &[folder.join("a.tar")], codec, 2048, GO_ON).expect("a good shard");
    TokenShards::open(&index).expect("just written")
}
