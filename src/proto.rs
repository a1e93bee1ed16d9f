//! What goes over the daemon's sockets: types and services generated from `proto/`, and the frames of `hook.sock`.

pub mod frame;
mod generated {
    #![expect(missing_docs, clippy::pedantic, unused_qualifications, reason = "generated")]

    tonic::include_proto!("pratique.v1");
}

/// The service that containerd calls for every layer: the server's side alone, over the messages of `containerd-client`.
pub mod containerd {
    #![expect(clippy::pedantic, unused_qualifications, reason = "generated")]

    tonic::include_proto!("containerd.services.diff.v1");
}

pub use generated::*;
