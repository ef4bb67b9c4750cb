//! Compiles the CSI messages of `src/csi/proto` into the build folder, and packs the relocations of the static programs.
//! protox stands in for `protoc`, so nothing has to be installed.

const PROTOS: [&str; 2] = ["csi.proto", "registration.proto"];
const FOLDER: &str = "src/csi/proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={FOLDER}");
    let descriptors = protox::compile(PROTOS, [FOLDER])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    pack_relocations();
    Ok(())
}

/// A static program relocates itself at the start, and reads all of its relocations: 1.5 MiB of memory and of the file,
/// which packed are a hundredth of that. A linker that does not know the option warns and ignores it.
fn pack_relocations() {
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
