//! The `fitsfs` command, also installed as `mount.fitsfs`.

fn main() -> std::process::ExitCode {
    fitsfs::cli::main()
}
