//! Compiles the C++ kernel. The flags are part of the contract: no FMA contraction and no fast-math, so that every
//! target gives the same bits. There is no -march: kernels/fir.cc names instruction sets itself, function by function.

use std::process::Command;

fn main() {
    let mut build = cxx_build::bridge("src/kernels/fir.rs");
    build
        .file("kernels/fir.cc")
        .std("c++17")
        .opt_level(3)
        .flag("-ffp-contract=off")
        .flag("-fno-fast-math")
        .flag_if_supported("-Wno-psabi")
        .warnings(true)
        .extra_warnings(true)
        .compile("musicgen_kernels");
    println!("cargo:rustc-env=KERNEL_COMPILER={}", first_line(build.get_compiler().to_command()));
    println!(
        "cargo:rustc-env=RUST_COMPILER={}",
        first_line(Command::new(std::env::var("RUSTC").expect("cargo sets it")))
    );
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-changed=src/kernels/fir.rs");
}

/// Of what `compiler --version` prints: instruction counts are compared between equal compilers only.
fn first_line(mut compiler: Command) -> String {
    let output = compiler.arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").to_owned()
}
