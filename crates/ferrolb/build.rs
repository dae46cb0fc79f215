//! How the program is linked. The static one is moved to where it runs by itself: at every start it reads a list of the
//! places that hold an address, which is 1.5 MB of file that stay in memory. Packed, the list is a hundredth of that.
//!
//! Only there: a shared C library older than glibc 2.36 does not know packed lists and would start the program all the same.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if (target("ENV").as_str(), target("ARCH").as_str()) == ("musl", "x86_64") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
