// The FIR for one target; fir.cc includes this once per target with TARGET_NAME, TARGET_ATTRIBUTE and TARGET_WIDTH
// (floats in a register). Only functions defined here may be called from here: one shared with another target could be
// compiled for either.

namespace kernels {
namespace TARGET_NAME {
namespace {

typedef float Vector __attribute__((vector_size(4 * TARGET_WIDTH), aligned(4), may_alias));
constexpr std::size_t kParts = kColumns / TARGET_WIDTH;  // registers that hold one value of every column
constexpr std::size_t kGroup = kLanes / kParts;          // lanes summed at a time, so that eight registers hold sums

// out[c * out_stride + r] = in[r * in_stride + c] for r and c below 4
TARGET_ATTRIBUTE inline void transpose4(const float* __restrict in, std::size_t in_stride, float* __restrict out,
                                        std::size_t out_stride) noexcept {
#ifdef HAS_SHUFFLES
  const Quad r0 = *reinterpret_cast<const Quad*>(in);
  const Quad r1 = *reinterpret_cast<const Quad*>(in + in_stride);
  const Quad r2 = *reinterpret_cast<const Quad*>(in + 2 * in_stride);
  const Quad r3 = *reinterpret_cast<const Quad*>(in + 3 * in_stride);
  const Quad low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
  const Quad high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  const Quad low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const Quad high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  *reinterpret_cast<Quad*>(out) = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
  *reinterpret_cast<Quad*>(out + out_stride) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
  *reinterpret_cast<Quad*>(out + 2 * out_stride) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
  *reinterpret_cast<Quad*>(out + 3 * out_stride) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
#else
  for (std::size_t r = 0; r < 4; ++r)
    for (std::size_t c = 0; c < 4; ++c) out[c * out_stride + r] = in[r * in_stride + c];
#endif
}

// columns[i * 16 + c] = in[c * stride + i]
TARGET_ATTRIBUTE void to_columns(const float* __restrict in, std::size_t stride, std::size_t num_rows,
                                 float* __restrict columns) noexcept {
  const std::size_t whole = num_rows / 4 * 4;
  for (std::size_t i = 0; i < whole; i += 4)
    for (std::size_t c = 0; c < kColumns; c += 4)
      transpose4(in + c * stride + i, stride, columns + i * kColumns + c, kColumns);
  for (std::size_t i = whole; i < num_rows; ++i)
    for (std::size_t c = 0; c < kColumns; ++c) columns[i * kColumns + c] = in[c * stride + i];
}

// out[c * stride + i] = columns[i * 16 + c]
TARGET_ATTRIBUTE void from_columns(const float* __restrict columns, std::size_t num_rows, float* __restrict out,
                                   std::size_t stride) noexcept {
  const std::size_t whole = num_rows / 4 * 4;
  for (std::size_t i = 0; i < whole; i += 4)
    for (std::size_t c = 0; c < kColumns; c += 4)
      transpose4(columns + i * kColumns + c, kColumns, out + c * stride + i, stride);
  for (std::size_t i = whole; i < num_rows; ++i)
    for (std::size_t c = 0; c < kColumns; ++c) out[c * stride + i] = columns[i * kColumns + c];
}

// 16 outputs of one phase: y[c] from x[tap * 16 + c]. A pass over the taps sums kGroup lanes.
TARGET_ATTRIBUTE inline void dot_columns(const float* __restrict x, const float* __restrict w, std::size_t num_taps,
                                         float* __restrict y) noexcept {
  Vector s[kLanes][kParts];
  UNROLL for (std::size_t g = 0; g < kLanes; g += kGroup) {
    UNROLL for (std::size_t l = g; l < g + kGroup; ++l)
      UNROLL for (std::size_t p = 0; p < kParts; ++p) s[l][p] = Vector{};
    for (std::size_t k = 0; k < num_taps; k += kLanes)
      UNROLL for (std::size_t l = g; l < g + kGroup; ++l)
        UNROLL for (std::size_t p = 0; p < kParts; ++p)
          s[l][p] += w[k + l] * *reinterpret_cast<const Vector*>(x + (k + l) * kColumns + p * TARGET_WIDTH);
  }
  UNROLL for (std::size_t p = 0; p < kParts; ++p)
    *reinterpret_cast<Vector*>(y + p * TARGET_WIDTH) =
        ((s[0][p] + s[4][p]) + (s[2][p] + s[6][p])) + ((s[1][p] + s[5][p]) + (s[3][p] + s[7][p]));
}

// One output; for what no tile covers.
TARGET_ATTRIBUTE inline float dot(const float* __restrict x, const float* __restrict w, std::size_t num_taps) noexcept {
  constexpr std::size_t kWidth = TARGET_WIDTH < kLanes ? TARGET_WIDTH : kLanes;
  typedef float Part __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));
  Part parts[kLanes / kWidth] = {};
  for (std::size_t k = 0; k < num_taps; k += kLanes)
    for (std::size_t p = 0; p < kLanes / kWidth; ++p)
      parts[p] += *reinterpret_cast<const Part*>(w + k + p * kWidth) * *reinterpret_cast<const Part*>(x + k + p * kWidth);
  float s[kLanes];
  for (std::size_t p = 0; p < kLanes / kWidth; ++p) *reinterpret_cast<Part*>(s + p * kWidth) = parts[p];
  const Quad halves = *reinterpret_cast<const Quad*>(s) + *reinterpret_cast<const Quad*>(s + 4);
  return (halves[0] + halves[2]) + (halves[1] + halves[3]);
}

// 16 runs of outputs: run c is column c of `scratch`, whose row r is input sample r of each run.
TARGET_ATTRIBUTE void tile(const Filter& filter, const float* block, std::size_t phase, float* scratch,
                           float* out) noexcept {
  const std::size_t run = filter.repeats * filter.num_phases;
  const std::size_t run_step = filter.repeats * filter.step;
  const std::size_t num_rows = run_step + filter.num_taps;
  float* results = scratch + num_rows * kColumns;
  const std::int64_t first = filter.first_tap[phase];
  to_columns(block + first, run_step, num_rows, scratch);
  std::int64_t origin = -first;
  for (std::size_t j = 0; j < run; ++j) {
    const float* x = scratch + (origin + filter.first_tap[phase]) * static_cast<std::int64_t>(kColumns);
    dot_columns(x, filter.weights + phase * filter.num_taps, filter.num_taps, results + j * kColumns);
    if (++phase == filter.num_phases) {
      phase = 0;
      origin += static_cast<std::int64_t>(filter.step);
    }
  }
  from_columns(results, run, out, run);
}

}  // namespace

TARGET_ATTRIBUTE void fir(const Filter& filter, const float* block, std::size_t phase, float* scratch, float* out,
                          std::size_t num_outputs) noexcept {
  const std::size_t in_tile = kColumns * filter.repeats * filter.num_phases;
  std::size_t done = 0;
  // A tile reads as far as the output after it, which must therefore be asked for.
  for (; in_tile > 0 && done + in_tile < num_outputs; done += in_tile) {
    tile(filter, block, phase, scratch, out + done);
    block += kColumns * filter.repeats * filter.step;
  }
  for (; done < num_outputs; ++done) {
    out[done] = dot(block + filter.first_tap[phase], filter.weights + phase * filter.num_taps, filter.num_taps);
    if (++phase == filter.num_phases) {
      phase = 0;
      block += filter.step;
    }
  }
}

}  // namespace TARGET_NAME
}  // namespace kernels
