//! The bearerd binary: arguments in, exit code out; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    bearerd::cli::run(std::env::args_os()).into()
}
