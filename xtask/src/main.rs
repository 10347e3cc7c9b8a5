//! Set-up, demo, tests and measurements.

mod filters;
mod wasm;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("wasm") => wasm::ensure().map(drop),
        Some("filters") => {
            filters::build_all().map(|built| built.iter().for_each(|path| eprintln!("{}", path.display())))
        }
        Some("refresh-builtin") => filters::refresh_builtin().map(|path| eprintln!("{}", path.display())),
        Some("check-builtin") => filters::check_builtin().map(|verdict| eprintln!("{verdict}")),
        _ => anyhow::bail!("xtask wasm | filters | refresh-builtin | check-builtin"),
    }
}
