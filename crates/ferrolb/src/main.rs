//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ferrolb::cli::main()
}
