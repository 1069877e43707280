// Every output is eight partial sums, lane l taking taps l, l + 8, ... in ascending order, added as
// ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)). A product is rounded before it is added (-ffp-contract=off). Hence
// every target, and the scalar loop in src/kernels/fir.rs, gives the same bits; only how many outputs share a register
// differs.
#include "fir.h"

#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)  // gcc 12, clang
#define HAS_SHUFFLES
#endif
#endif

// Loops over registers, which must be unrolled for arrays of vectors to become registers.
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

namespace kernels {
namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kColumns = 16;  // outputs of one phase that a tile computes side by side

// Vectors are read through pointers of float's alignment: loads by memcpy ran five times slower under AVX2 with gcc 12.
typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));

// The arguments of `fir`, without the slices' bounds.
struct Filter {
  const float* weights;
  const std::int32_t* first_tap;
  std::size_t num_phases, num_taps, step, repeats;
};

}  // namespace
}  // namespace kernels

#define TARGET_NAME baseline
#define TARGET_ATTRIBUTE
#define TARGET_WIDTH 4
#include "fir_target.h"
#undef TARGET_NAME
#undef TARGET_ATTRIBUTE
#undef TARGET_WIDTH

// Plain attributes rather than target_clones: those need glibc's ifunc, and tests could not choose one.
#if defined(__x86_64__) && defined(__GNUC__)
#define TARGET_NAME avx2
#define TARGET_ATTRIBUTE __attribute__((target("avx2")))
#define TARGET_WIDTH 8
#include "fir_target.h"
#undef TARGET_NAME
#undef TARGET_ATTRIBUTE
#undef TARGET_WIDTH

#define TARGET_NAME avx512
#define TARGET_ATTRIBUTE __attribute__((target("avx512f,avx512vl")))
#define TARGET_WIDTH 16
#include "fir_target.h"
#undef TARGET_NAME
#undef TARGET_ATTRIBUTE
#undef TARGET_WIDTH
#endif

namespace kernels {

void fir(Target target, rust::Slice<const float> in, std::int64_t in_origin, rust::Slice<const float> weights,
         rust::Slice<const std::int32_t> first_tap, std::size_t step, std::uint64_t first_output, std::size_t repeats,
         rust::Slice<float> scratch, rust::Slice<float> out) noexcept {
  const std::size_t num_phases = first_tap.size();
  const Filter filter{weights.data(), first_tap.data(), num_phases, weights.size() / num_phases, step, repeats};
  const float* block = in.data() + (static_cast<std::int64_t>(first_output / num_phases * step) - in_origin);
  const std::size_t phase = first_output % num_phases;
#if defined(__x86_64__) && defined(__GNUC__)
  if (target == Target::Avx512) return avx512::fir(filter, block, phase, scratch.data(), out.data(), out.size());
  if (target == Target::Avx2) return avx2::fir(filter, block, phase, scratch.data(), out.data(), out.size());
#endif
  static_cast<void>(target);
  baseline::fir(filter, block, phase, scratch.data(), out.data(), out.size());
}

}  // namespace kernels
