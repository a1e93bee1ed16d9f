//! Writes the seeds of every target to `fuzz/corpus/TARGET/`, where the fuzzer looks for them.

use std::fs;
use std::path::Path;

use pratique_fuzz::{seeds, targets};

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in targets::TARGETS {
        let folder = here.join("corpus").join(name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds::of(&here.join(".."), name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
