//! `notation blob sign`: signs a file, and puts the signature beside it.

use std::fs::File;
use std::path::Path;

use super::super::flags::Parsed;
use super::super::sign::Signing;
use super::super::{Refusal, Said, block_on, output};
use super::{first_of, unopened};
use crate::cli::blob::describe_file;
use crate::cli::blob::sign::{beside, write};
use crate::config::Existing;
use crate::oci::media_type;

pub(in super::super) fn check(parsed: &Parsed) -> Said {
    first_of(parsed, "file path to the blob artifact", "sign")?;
    if parsed.first().is_empty() {
        return Err(Refusal::new("blob path cannot be empty"));
    }
    if parsed.has("signature-directory") && parsed.text("signature-directory").is_empty() {
        return Err(Refusal::new("signature directory cannot be empty"));
    }
    for (flag, what) in [("timestamp-url", "tsa url"), ("timestamp-root-cert", "tsa root certificate path")] {
        if parsed.has(flag) && parsed.text(flag).is_empty() {
            return Err(Refusal(format!("timestamping: {what} cannot be empty")));
        }
    }
    Ok(())
}

pub(in super::super) fn run(parsed: &Parsed) -> Said {
    let (path, file) = (parsed.first(), Path::new(parsed.first()));
    let signing = Signing::open(parsed)?;
    let algorithm = signing.key.algorithm().map_err(Refusal::from_failure)?;
    let media_type = parsed.text("media-type");
    if !media_type::is_well_formed(media_type) {
        return Err(Refusal(format!("invalid content media-type {media_type:?}")));
    }
    File::open(file).map_err(|error| Refusal(unopened(path, &error)))?;
    let blob = describe_file(file, algorithm.hash(), media_type).map_err(Refusal::from_failure)?;
    let signed = block_on(signing.sign(&blob, parsed))?;
    let directory = parsed.has("signature-directory").then(|| Path::new(parsed.text("signature-directory")));
    let target = beside(file, directory, signing.request.format);
    if parsed.is_on("force") {
        output::warn("Warning: existing signature file will be overwritten");
    } else if target.symlink_metadata().is_ok()
        && !output::is_confirmed("The signature file already exists, do you want to overwrite it?")
    {
        return Ok(());
    }
    let target_name = target.display().to_string();
    write(&target, signed.envelope.bytes(), Existing::Replace)
        .map_err(|error| Refusal(format!("failed to write signature to file: {}", unopened(&target_name, &error))))?;
    output::say(&format!("Successfully signed {path}\n Signature file written to {target_name}"));
    Ok(())
}
