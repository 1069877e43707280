//! Tens of thousands of damaged files, the same ones on every machine. For each: no panic of ours, no hang, no memory
//! beyond a limit, no error without a name, and nothing silently different. MUTANTS_PER_SEED and FIRST_MUTANT run more
//! of them, and others.

mod allocator;
mod audio;
mod mutate;
mod shards;
mod workers;

use std::path::Path;

use mutate::{Random, mutate};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// Times 28 audio seeds, and with the 4 kinds of token files: over 20,000.
const AUDIO_MUTANTS_PER_SEED: u64 = 610;
const SHARD_MUTANTS_PER_SEED: u64 = 850;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// (file name, content) of every seed in tests/seeds.
fn audio_seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let mut seeds: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("the seeds are committed")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_file() && path.extension().is_some_and(|suffix| suffix != "py"))
        .map(|path| {
            (path.file_name().expect("a file").to_string_lossy().into_owned(), std::fs::read(&path).expect("readable"))
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn seeds_are_good() {
    let seeds = audio_seeds();
    assert!(seeds.len() >= 28, "{} seeds", seeds.len());
    for (group, (name, data)) in seeds.iter().enumerate() {
        let seen =
            audio::check(name, data, &mut Random::new(group as u64, 0)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(seen.probed && seen.decoded, "{name}");
    }
}

#[test]
fn damaged_audio() {
    let seeds = audio_seeds();
    let per_seed = number("MUTANTS_PER_SEED", AUDIO_MUTANTS_PER_SEED);
    let first = number("FIRST_MUTANT", 1);
    let place = |job: u64| ((job / per_seed) as usize, first + job % per_seed);
    let name_of = |job| {
        let (group, mutant) = place(job);
        format!("mutant {mutant} of {}", seeds[group].0)
    };
    let counts = workers::run(seeds.len() as u64 * per_seed, name_of, |job| {
        let (group, mutant) = place(job);
        let mut random = Random::new(group as u64, mutant);
        let other = &seeds[random.below(seeds.len())].1;
        let data = mutate(&seeds[group].1, other, &mut random);
        let name = name_of(job);
        audio::check(&name, &data, &mut random).map_err(|message| (name, message, data)).map(|seen| seen.decoded)
    });
    // Neither all refused nor all let through: the damage is of a strength that tests something.
    assert!(counts.passed * 20 > counts.total && counts.passed * 20 < 19 * counts.total, "{counts:?}");
}

#[test]
fn damaged_shards_and_indexes() {
    let per_seed = number("MUTANTS_PER_SEED", SHARD_MUTANTS_PER_SEED);
    let first = number("FIRST_MUTANT", 1);
    let intact = shards::Intact::make();
    let kinds = shards::KINDS.len() as u64;
    let place = |job: u64| (shards::KINDS[(job / per_seed) as usize], first + job % per_seed);
    let name_of = |job| {
        let (kind, mutant) = place(job);
        format!("mutant {mutant} of {kind:?}")
    };
    workers::run(kinds * per_seed, name_of, |job| {
        let ((kind, mutant), name) = (place(job), name_of(job));
        let mut random = Random::new(1000 + job / per_seed, mutant);
        let data = mutate(intact.seed(kind), intact.seed(shards::Kind::Tar), &mut random);
        intact.check(kind, &data).map_err(|message| (name, message, data))
    });
}
