//! The `tidegate` command.

/// The system's allocator keeps what compiling a filter freed, a little more at each swap: 8 % over 1,000 swaps, where this
/// one stays level.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    tidegate::cli::main()
}
