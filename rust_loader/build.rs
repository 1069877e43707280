//! Compiles the C++ kernels. The flags are part of the contract: no FMA contraction and no fast-math, so that every
//! x86-64 level gives the same bits.

fn main() {
    cxx_build::bridge("src/kernels.rs")
        .files(["kernels/convert.cc", "kernels/fir.cc", "kernels/interleave.cc", "kernels/measure.cc"])
        .std("c++17")
        .opt_level(3)
        .flag("-ffp-contract=off")
        .flag("-fno-fast-math")
        .warnings(true)
        .extra_warnings(true)
        .compile("musicgen_kernels");
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-changed=src/kernels.rs");
}
