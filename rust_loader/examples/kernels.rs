//! Runs every kernel once, each in a function of its own, for callgrind to count their instructions
//! (tests/native/test_instruction_counts.py); with the argument `time`, prints how long each takes instead.
//!
//! The input is fixed: 2 s of 44.1 kHz noise. The delay pattern is left out: its instructions are those of libc's memcpy,
//! which chooses by processor.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use _rust_loader::filter::{self, Preset};
use _rust_loader::kernels::{self, COMPILERS, Fir, Target};

const NUM_SAMPLES: usize = 88_200;
const NUM_OUTPUTS: usize = 64_000;
/// Sample number of x[0]: as far before 0 as the longer filter reaches.
const ORIGIN: i64 = -200;

struct Data {
    x: Vec<f32>,
    out: Vec<f32>,
    julius24: Arc<Fir>,
    hq: Arc<Fir>,
}

/// A function per case that is not inlined, so that callgrind sees it, and a table of them.
macro_rules! cases {
    ($($name:ident $(on $target:ident)?: |$data:ident| $work:expr;)*) => {
        $(#[inline(never)] fn $name($data: &mut Data) { $work })*
        /// (name, target that it needs, the function)
        const CASES: &[(&str, Target, fn(&mut Data))] = &[$((stringify!($name), cases!(@target $($target)?), $name)),*];
    };
    (@target) => { Target::Scalar };
    (@target $target:ident) => { Target::$target };
}

cases! {
    fir_julius24_scalar on Scalar: |d| d.julius24.apply_on(Target::Scalar, &d.x, ORIGIN, 0, &mut d.out);
    fir_julius24_baseline on Baseline: |d| d.julius24.apply_on(Target::Baseline, &d.x, ORIGIN, 0, &mut d.out);
    fir_julius24_avx2 on Avx2: |d| d.julius24.apply_on(Target::Avx2, &d.x, ORIGIN, 0, &mut d.out);
    fir_julius24_avx512 on Avx512: |d| d.julius24.apply_on(Target::Avx512, &d.x, ORIGIN, 0, &mut d.out);
    fir_hq_scalar on Scalar: |d| d.hq.apply_on(Target::Scalar, &d.x, ORIGIN, 0, &mut d.out);
    fir_hq_baseline on Baseline: |d| d.hq.apply_on(Target::Baseline, &d.x, ORIGIN, 0, &mut d.out);
    fir_hq_avx2 on Avx2: |d| d.hq.apply_on(Target::Avx2, &d.x, ORIGIN, 0, &mut d.out);
    fir_hq_avx512 on Avx512: |d| d.hq.apply_on(Target::Avx512, &d.x, ORIGIN, 0, &mut d.out);
    mix_to_mono: |d| kernels::mix_to_mono(&d.x[..NUM_SAMPLES], 2, &mut d.out[..NUM_SAMPLES / 2]);
    peak: |d| { black_box(kernels::peak(&d.x)); };
    sum_of_squares: |d| { black_box(kernels::sum_of_squares(&d.x)); };
    first_nonfinite: |d| { black_box(kernels::first_nonfinite(&d.x)); };
    first_above: |d| { black_box(kernels::first_above(&d.x, 1.0)); };
    end_above: |d| { black_box(kernels::end_above(&d.x, 1.0)); };
}

fn main() {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let filter = |preset| filter::get(preset, 441, 320).expect("a common pair of rates");
    let mut data = Data {
        x: (0..NUM_SAMPLES + 400).map(|_| noise()).collect(),
        out: vec![0.0; NUM_OUTPUTS],
        julius24: filter(Preset::Julius24),
        hq: filter(Preset::Hq),
    };
    let timed = std::env::args().nth(1).as_deref() == Some("time");
    println!("c++: {}\nrust: {}", COMPILERS.0, COMPILERS.1);
    for &(name, target, run) in CASES {
        if !Target::available().any(|there| there == target) {
            println!("{name}: skipped, this processor has no {}", target.name());
        } else if timed {
            println!("{name}: {:.1} us", 1e6 * best_of(20, || run(&mut data)));
        } else {
            run(&mut data);
            println!("{name}: run");
        }
    }
}

fn best_of(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut time = || {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    (0..rounds).map(|_| time()).fold(f64::INFINITY, f64::min)
}
