//! The one question that the kubelet asks about images: the messages of `runtime.v1`'s `ImageService.PullImage`.
//!
//! By hand, because it is so little of a large file. Fields that are not set here are left out.

use containerd_client::tonic::client::Grpc;
use containerd_client::tonic::codegen::http::uri::PathAndQuery;
use containerd_client::tonic::transport::Channel;
use containerd_client::tonic::{Request, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PullImageResponse {
    #[prost(string, tag = "1")]
    image_ref: String,
}

/// Has the image pulled, and gives the name that the kubelet would know it by.
pub async fn pull(channel: Channel, reference: &str) -> Result<String, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = PullImageRequest { image: Some(ImageSpec { image: reference.to_owned() }) };
    let path = PathAndQuery::from_static("/runtime.v1.ImageService/PullImage");
    let codec = ProstCodec::<PullImageRequest, PullImageResponse>::default();
    Ok(client.unary(Request::new(request), path, codec).await?.into_inner().image_ref)
}
