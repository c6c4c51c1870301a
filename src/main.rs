//! The binary: reads the environment and the arguments, runs one command, turns its end into an exit code.

use clap::Parser;
use flowdiff::cli::{self, Args};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What shells report for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let interactive = args.is_prompt();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the async runtime does not start: {error}");
            return ExitCode::from(1);
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = cli::run(args, environment) => Some(ended),
            // At the prompt Ctrl-C stops a query, not the program.
            Ok(()) = tokio::signal::ctrl_c(), if !interactive => None,
        }
    });
    // Decoding threads may be in the middle of an object; nothing of theirs is published any more.
    runtime.shutdown_background();
    match ended {
        Some(Ok(code)) => ExitCode::from(code),
        Some(Err(error)) if cli::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            cli::print_error(&error);
            ExitCode::from(error.kind().exit_code())
        }
        None => {
            eprintln!("interrupted: nothing was published that is not complete");
            ExitCode::from(INTERRUPTED)
        }
    }
}
