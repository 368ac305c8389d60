mod test;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run test cases
    Test(test::TestArgs),
}

fn main() -> ExitCode {
    let Command::Test(args) = Args::parse().command;
    test::run(&args)
}
