#include "kernels.h"

namespace kernels {

void mix_to_mono(Samples in, std::size_t num_channels, SamplesOut out) noexcept {
  const std::size_t n = out.size();
  const float* first = in.data();
  float* sum = out.data();
  for (std::size_t i = 0; i < n; ++i) sum[i] = first[i];
  for (std::size_t c = 1; c < num_channels; ++c) {
    const float* channel = first + c * n;
    for (std::size_t i = 0; i < n; ++i) sum[i] += channel[i];
  }
  // A division, as torch's mean does it: a multiplication by the reciprocal rounds differently for 3, 5, 6, ...
  const float divisor = static_cast<float>(num_channels);
  for (std::size_t i = 0; i < n; ++i) sum[i] /= divisor;
}

}  // namespace kernels
