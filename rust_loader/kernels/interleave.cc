#include <algorithm>

#include "kernels.h"

namespace kernels {
namespace {

template <typename T>
void interleave(rust::Slice<const T> codes, rust::Slice<const std::uint32_t> delays, std::size_t num_frames,
                std::size_t num_steps, T special, rust::Slice<T> out) noexcept {
  const std::size_t num_rows = num_steps == 0 ? 0 : out.size() / num_steps;
  for (std::size_t r = 0; r < num_rows; ++r) {
    T* row = out.data() + r * num_steps;
    const std::size_t begin = std::min<std::size_t>(num_steps, std::size_t{1} + delays[r % delays.size()]);
    const std::size_t count = std::min(num_frames, num_steps - begin);
    std::fill_n(row, begin, special);
    std::copy_n(codes.data() + r * num_frames, count, row + begin);
    std::fill(row + begin + count, row + num_steps, special);
  }
}

template <typename T>
void deinterleave(rust::Slice<const T> sequence, rust::Slice<const std::uint32_t> delays, std::size_t num_steps,
                  std::size_t num_frames, T special, rust::Slice<T> out) noexcept {
  const std::size_t num_rows = num_frames == 0 ? 0 : out.size() / num_frames;
  for (std::size_t r = 0; r < num_rows; ++r) {
    T* row = out.data() + r * num_frames;
    const std::size_t begin = std::min<std::size_t>(num_steps, std::size_t{1} + delays[r % delays.size()]);
    const std::size_t count = std::min(num_frames, num_steps - begin);
    std::copy_n(sequence.data() + r * num_steps + begin, count, row);
    std::fill(row + count, row + num_frames, special);
  }
}

}  // namespace

void interleave_u16(rust::Slice<const std::uint16_t> codes, rust::Slice<const std::uint32_t> delays,
                    std::size_t num_frames, std::size_t num_steps, std::uint16_t special,
                    rust::Slice<std::uint16_t> out) noexcept {
  interleave(codes, delays, num_frames, num_steps, special, out);
}

void interleave_u64(rust::Slice<const std::uint64_t> codes, rust::Slice<const std::uint32_t> delays,
                    std::size_t num_frames, std::size_t num_steps, std::uint64_t special,
                    rust::Slice<std::uint64_t> out) noexcept {
  interleave(codes, delays, num_frames, num_steps, special, out);
}

void deinterleave_u16(rust::Slice<const std::uint16_t> sequence, rust::Slice<const std::uint32_t> delays,
                      std::size_t num_steps, std::size_t num_frames, std::uint16_t special,
                      rust::Slice<std::uint16_t> out) noexcept {
  deinterleave(sequence, delays, num_steps, num_frames, special, out);
}

void deinterleave_u64(rust::Slice<const std::uint64_t> sequence, rust::Slice<const std::uint32_t> delays,
                      std::size_t num_steps, std::size_t num_frames, std::uint64_t special,
                      rust::Slice<std::uint64_t> out) noexcept {
  deinterleave(sequence, delays, num_steps, num_frames, special, out);
}

}  // namespace kernels
