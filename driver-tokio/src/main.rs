//! The program `sameseed`. Everything stands in `cli`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
