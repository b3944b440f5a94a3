//! Writes the repository's `data-example/`: `make-data-example DIR`.

use std::path::PathBuf;
use std::process::ExitCode;

use streamhub_tests::legacy::example;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), None) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return refuse("usage: make-data-example DIR");
    };
    if dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return refuse(&format!("{} is not empty; remove it first", dir.display()));
    }
    example::write(&dir);
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "a command's refusal goes to standard error")]
fn refuse(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}
