//! The program: the exit code of [`mailwicket::cli::main`].
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    mailwicket::cli::main()
}
