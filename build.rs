//! Compiles the CSI messages of `src/csi/proto` into the build folder. protox stands in for `protoc`, so nothing has to
//! be installed.

const PROTOS: [&str; 2] = ["csi.proto", "registration.proto"];
const FOLDER: &str = "src/csi/proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={FOLDER}");
    let descriptors = protox::compile(PROTOS, [FOLDER])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
