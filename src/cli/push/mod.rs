//! `pratique push`: takes what was signed to a registry. A signature alone, where the image went there by other means; or with
//! `--sign` an image of this machine, which is signed on the way.

mod attached;
mod report;
mod signed;

use std::path::{Path, PathBuf};

use clap::Args;

use self::signed::Order;
use super::Output;
use super::exit::{Exit, Failure};
use super::node_store::NodeStoreArguments;
use super::place::PlaceArguments;
use super::revocation::RevocationArguments;
use super::signing::SigningArguments;
use crate::oci::{Location, Platform};

/// The arguments that both forms take. All others are about what is signed and pushed, and mean nothing without `--sign`.
const OF_BOTH_FORMS: [&str; 10] =
    ["what", "image", "sign", "insecure", "username", "password_stdin", "docker_config", "socket", "namespace", "path"];

#[derive(Debug, Args)]
#[command(
    override_usage = "pratique push [OPTIONS] SIGNATURE IMAGE\n       pratique push [OPTIONS] --sign SOURCE [DESTINATION]",
    mut_args(|argument| if OF_BOTH_FORMS.contains(&argument.get_id().as_str()) { argument } else { argument.requires("sign") })
)]
pub(super) struct Arguments {
    /// SIGNATURE: what `pratique sign --output-signature` has written, NAME.jws.sig or NAME.cose.sig. With `--sign`, SOURCE: an
    /// image of this machine, containerd:[NAMESPACE/]REFERENCE, oci-layout:DIR[:TAG|@DIGEST], oci-archive:FILE[:TAG|@DIGEST] or
    /// docker-archive:FILE[:REFERENCE].
    #[arg(value_name = "SIGNATURE|SOURCE")]
    what: PathBuf,
    /// IMAGE: the signed image in its registry, registry/repository:tag or registry/repository@digest. With `--sign`,
    /// DESTINATION: where the image goes, in the same form; by default where its name in containerd says.
    #[arg(value_name = "IMAGE|DESTINATION")]
    image: Option<String>,
    /// Sign an image of this machine and push it with its signature. Its tag is moved last, once the registry shows exactly
    /// what was signed and the trust policy of this machine admits it from there.
    #[arg(long)]
    sign: bool,
    /// Of an image for several platforms, sign and push this one alone: os/architecture[/variant].
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    signing: SigningArguments,
    #[command(flatten)]
    places: PlaceArguments,
    #[command(flatten)]
    node_store: NodeStoreArguments,
    #[command(flatten)]
    revocation: RevocationArguments,
}

pub(super) async fn run(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    if !arguments.sign {
        check_signature(&arguments.what, arguments.image.as_deref())?;
    }
    let Arguments { what, image, platform, signing, places, node_store, revocation, .. } = arguments;
    match image {
        Some(image) if !arguments.sign => attached::run(&what, &image, places, &signing.directory(), output).await,
        destination => {
            let source = what.into_os_string().into_string().map_err(|_| {
                Failure::usage("invalid-location", "the name of the image has letters that are no Unicode".to_owned())
                    .hint("move the image to a path of plain letters")
            })?;
            let order = Order { source, destination, platform, node_store };
            signed::run(order, signing, places, revocation, output).await
        }
    }
}

/// Without `--sign` a signature goes to an image that is in its registry already.
fn check_signature(what: &Path, image: Option<&str>) -> Result<(), Failure> {
    let location = what.to_str().and_then(|what| what.parse::<Location>().ok());
    let is_file = what.symlink_metadata().is_ok();
    if let Some(location) = location.filter(|location| !is_file && !matches!(location, Location::Registry(_))) {
        let message = format!("`{location}` is an image, and without `--sign` a signature alone is pushed");
        let remedy = format!(
            "sign the image on its way with `pratique push --sign {location} DESTINATION`, or copy it with the signatures \
             that it has: `pratique copy {location} DESTINATION`"
        );
        return Err(Failure::usage("push-without-sign", message).hint(remedy));
    }
    if image.is_some() {
        return Ok(());
    }
    let message = "nothing says which image the signature is pushed to".to_owned();
    let remedy = "name the signed image in its registry; with `--sign` an image of this machine is signed and pushed";
    Err(Failure::usage("arguments-missing", message).hint(remedy))
}
