// The arithmetic of the data path: flat slices in, flat slices out. Nothing here allocates, throws or keeps state;
// shapes are checked once by the caller (src/kernels.rs). Sums have a fixed order, written down beside each kernel, so
// that every build gives the same bits; `*_reference` is the plain loop that defines a kernel and is compared in tests.
#pragma once

#include <cstdint>

#include "rust/cxx.h"

namespace kernels {

using Samples = rust::Slice<const float>;
using SamplesOut = rust::Slice<float>;

// convert.cc -----------------------------------------------------------------------------------------------------
// out[i] = (in[0][i] + in[1][i] + ...) / num_channels, added in channel order; `in` is planar [num_channels, out.size].
void mix_to_mono(Samples in, std::size_t num_channels, SamplesOut out) noexcept;

// fir.cc ---------------------------------------------------------------------------------------------------------
// Rational polyphase FIR: output m = first_output + i has phase m % num_phases and reads `num_taps` samples from
// x[(m / num_phases) * step + first_tap[phase]], where x[p] = in[p - in_origin]. `weights` is
// [num_phases, num_taps], num_taps a multiple of 8. Eight partial sums, lane l takes taps l, l + 8, ...; they are
// added as ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)).
void fir(Samples in, std::int64_t in_origin, Samples weights, rust::Slice<const std::int32_t> first_tap,
         std::size_t step, std::uint64_t first_output, SamplesOut out) noexcept;
void fir_reference(Samples in, std::int64_t in_origin, Samples weights, rust::Slice<const std::int32_t> first_tap,
                   std::size_t step, std::uint64_t first_output, SamplesOut out) noexcept;

// interleave.cc --------------------------------------------------------------------------------------------------
// Delay pattern over rows = batch * codebooks. Row r of `out` [rows, num_steps] is `special` except that step
// 1 + delays[r % K] + t holds codes[r][t]. Codes that fall behind the last step are dropped.
void interleave_u16(rust::Slice<const std::uint16_t> codes, rust::Slice<const std::uint32_t> delays,
                    std::size_t num_frames, std::size_t num_steps, std::uint16_t special,
                    rust::Slice<std::uint16_t> out) noexcept;
void interleave_u64(rust::Slice<const std::uint64_t> codes, rust::Slice<const std::uint32_t> delays,
                    std::size_t num_frames, std::size_t num_steps, std::uint64_t special,
                    rust::Slice<std::uint64_t> out) noexcept;
// The inverse: out[r][t] = sequence[r][1 + delays[r % K] + t], or `special` where the sequence is too short.
void deinterleave_u16(rust::Slice<const std::uint16_t> sequence, rust::Slice<const std::uint32_t> delays,
                      std::size_t num_steps, std::size_t num_frames, std::uint16_t special,
                      rust::Slice<std::uint16_t> out) noexcept;
void deinterleave_u64(rust::Slice<const std::uint64_t> sequence, rust::Slice<const std::uint32_t> delays,
                      std::size_t num_steps, std::size_t num_frames, std::uint64_t special,
                      rust::Slice<std::uint64_t> out) noexcept;

// measure.cc -----------------------------------------------------------------------------------------------------
// Largest |x|; NaN is ignored. 0 for nothing.
float peak(Samples in) noexcept;
// Sum of x^2 in double: eight partial sums, folded as in `fir`.
double sum_of_squares(Samples in) noexcept;
double sum_of_squares_reference(Samples in) noexcept;
// Index of the first sample that is NaN or infinite; in.size() when there is none.
std::size_t first_nonfinite(Samples in) noexcept;
// Index of the first, and one past the last, sample with |x| > threshold; in.size() and 0 when there is none.
std::size_t first_above(Samples in, float threshold) noexcept;
std::size_t end_above(Samples in, float threshold) noexcept;

}  // namespace kernels
