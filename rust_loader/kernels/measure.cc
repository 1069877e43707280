#include <cmath>

#include "kernels.h"

namespace kernels {
namespace {

constexpr std::size_t kLanes = 8;

double fold(const double* s) noexcept {
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

}  // namespace

float peak(Samples in) noexcept {
  float lanes[kLanes] = {};
  const std::size_t whole = in.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) {
      const float a = std::fabs(in.data()[i + l]);
      lanes[l] = a > lanes[l] ? a : lanes[l];
    }
  float largest = 0.0F;
  for (float lane : lanes) largest = lane > largest ? lane : largest;
  for (std::size_t i = whole; i < in.size(); ++i) {
    const float a = std::fabs(in.data()[i]);
    largest = a > largest ? a : largest;
  }
  return largest;
}

double sum_of_squares(Samples in) noexcept {
  double s[kLanes] = {};
  const float* x = in.data();
  const std::size_t whole = in.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    for (std::size_t l = 0; l < kLanes; ++l) {
      const double v = x[i + l];
      s[l] += v * v;
    }
  for (std::size_t i = whole; i < in.size(); ++i) {
    const double v = x[i];
    s[i - whole] += v * v;
  }
  return fold(s);
}

double sum_of_squares_reference(Samples in) noexcept {
  volatile double s[kLanes] = {};
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double v = in[i];
    s[i % kLanes] = s[i % kLanes] + v * v;
  }
  const double sums[kLanes] = {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]};
  return fold(sums);
}

std::size_t first_nonfinite(Samples in) noexcept {
  // x - x is 0 for a finite x and NaN otherwise; whole blocks are summed before any is searched.
  constexpr std::size_t kBlock = 1024;
  const float* x = in.data();
  for (std::size_t begin = 0; begin < in.size(); begin += kBlock) {
    const std::size_t end = begin + kBlock < in.size() ? begin + kBlock : in.size();
    bool bad = false;
    for (std::size_t i = begin; i < end; ++i) bad |= !(x[i] - x[i] == 0.0F);
    if (!bad) continue;
    for (std::size_t i = begin; i < end; ++i)
      if (!std::isfinite(x[i])) return i;
  }
  return in.size();
}

std::size_t first_above(Samples in, float threshold) noexcept {
  for (std::size_t i = 0; i < in.size(); ++i)
    if (std::fabs(in.data()[i]) > threshold) return i;
  return in.size();
}

std::size_t end_above(Samples in, float threshold) noexcept {
  for (std::size_t i = in.size(); i > 0; --i)
    if (std::fabs(in.data()[i - 1]) > threshold) return i;
  return 0;
}

}  // namespace kernels
