// The one kernel in C++: a rational polyphase FIR. Flat slices in, flat slices out; it allocates nothing, throws nothing
// and keeps no state; src/kernels/fir.rs checks shapes once. Why it is not Rust: docs/decisions/0004-kernels.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rust/cxx.h"

namespace kernels {

// What to compute with. All give the same bits: fir.cc says in what order it adds.
enum class Target : std::uint8_t { Scalar, Baseline, Avx2, Avx512 };

// Output m has phase m % num_phases and reads num_taps samples from x[(m / num_phases) * step + first_tap[phase]], where
// x[p] = in[p - in_origin]; `out` begins with output `first_output`. `weights` is [num_phases, num_taps], num_taps a
// multiple of 8; an output's first sample never lies before the previous output's.
//
// `scratch` is room for tiles of 16 runs of `repeats * num_phases` outputs: scratch.size() >=
// 16 * (repeats * (step + num_phases) + num_taps), best aligned to 64 bytes. With repeats = 0 there are no tiles.
void fir(Target target, rust::Slice<const float> in, std::int64_t in_origin, rust::Slice<const float> weights,
         rust::Slice<const std::int32_t> first_tap, std::size_t step, std::uint64_t first_output, std::size_t repeats,
         rust::Slice<float> scratch, rust::Slice<float> out) noexcept;

}  // namespace kernels
