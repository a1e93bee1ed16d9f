//! Generates the types and services of `proto/` for the host; without it there is nothing to generate.

#[cfg_attr(not(feature = "host"), expect(clippy::unnecessary_wraps, reason = "only generating can fail"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    #[cfg(feature = "host")]
    {
        tonic_prost_build::configure().compile_protos(&["proto/pratique/v1/pratique.proto"], &["proto"])?;
        // containerd's messages are those of its client, so that a request is passed on as it came.
        tonic_prost_build::configure()
            .build_client(false)
            .extern_path(".containerd.types", "::containerd_client::types")
            .extern_path(".containerd.services.diff.v1", "::containerd_client::services::v1")
            .compile_protos(&["proto/containerd/services/diff/v1/diff.proto"], &["proto/containerd"])?;
    }
    Ok(())
}
