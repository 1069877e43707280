#include "kernels.h"

namespace kernels {
namespace {

constexpr std::size_t kLanes = 8;

float fold(const float* s) noexcept {
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// One output; the inner loop over lanes has no dependency, which is what lets the compiler keep it in vectors.
float dot(const float* __restrict x, const float* __restrict w, std::size_t num_taps) noexcept {
  float s[kLanes] = {};
  for (std::size_t k = 0; k < num_taps; k += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) s[l] += w[k + l] * x[k + l];
  return fold(s);
}

}  // namespace

void fir(Samples in, std::int64_t in_origin, Samples weights, rust::Slice<const std::int32_t> first_tap,
         std::size_t step, std::uint64_t first_output, SamplesOut out) noexcept {
  const std::size_t num_phases = first_tap.size();
  const std::size_t num_taps = weights.size() / num_phases;
  std::size_t phase = first_output % num_phases;
  const float* block = in.data() + static_cast<std::int64_t>(first_output / num_phases * step) - in_origin;
  for (float& y : out) {
    y = dot(block + first_tap[phase], weights.data() + phase * num_taps, num_taps);
    if (++phase == num_phases) {
      phase = 0;
      block += step;
    }
  }
}

void fir_reference(Samples in, std::int64_t in_origin, Samples weights, rust::Slice<const std::int32_t> first_tap,
                   std::size_t step, std::uint64_t first_output, SamplesOut out) noexcept {
  const std::size_t num_phases = first_tap.size();
  const std::size_t num_taps = weights.size() / num_phases;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t m = first_output + i;
    const std::size_t phase = m % num_phases;
    const std::int64_t start = static_cast<std::int64_t>(m / num_phases * step) + first_tap[phase] - in_origin;
    volatile float s[kLanes] = {};  // volatile: one scalar operation at a time, whatever the compiler would prefer
    for (std::size_t k = 0; k < num_taps; ++k) {
      const float product = weights[phase * num_taps + k] * in[static_cast<std::size_t>(start) + k];
      s[k % kLanes] = s[k % kLanes] + product;
    }
    const float sums[kLanes] = {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]};
    out[i] = fold(sums);
  }
}

}  // namespace kernels
