//! How the program is linked, the static one that the image has: all that is for how little of it is in memory.
//!
//! The kernel maps 16 pages round each page that is touched. What controllers and speakers run is a sixth of the program;
//! it is put together (`used.ld`, which `scripts/used` writes), and functions that are the same, byte by byte, are there
//! once. Rust's own linker does that; where it is not installed the program is as good, and larger in memory.
//!
//! At every start the program reads a list of the places that hold an address, which is 1.5 MB of file that stay in memory.
//! Packed, the list is a hundredth of that. Only in the static one: a shared C library older than glibc 2.36 does not know
//! packed lists and would start the program all the same.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=used.ld");
    println!("cargo::rustc-env=FERROLB_COMPILER={}", compiler().unwrap_or_else(|| "rustc".to_owned()));
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if (target("ENV").as_str(), target("ARCH").as_str()) != ("musl", "x86_64") {
        return;
    }
    let mut arguments = vec!["-Wl,-z,pack-relative-relocs".to_owned()];
    if let Some(linkers) = own_linkers() {
        let used = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("used.ld");
        arguments.extend([
            format!("-B{}", linkers.display()),
            "-fuse-ld=lld".to_owned(),
            "-Wl,--icf=all".to_owned(),
            format!("-Wl,-T,{}", used.display()),
        ]);
    }
    for argument in arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}

/// Which compiler this is, as in `rustc 1.96.0`: controller and speaker say it in their first line.
fn compiler() -> Option<String> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split(" (").next()?.trim().to_owned())
}

/// Where the compiler's installation has a linker that a C compiler can call.
fn own_linkers() -> Option<PathBuf> {
    let output = Command::new(env::var_os("RUSTC")?).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    let place = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(env::var_os("HOST")?).join("bin/gcc-ld");
    place.join("ld.lld").exists().then_some(place)
}
