//! The programs that the tests run, and how to wait for what they do.

use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// Between two looks at a condition. Much shorter than anything that is waited for here.
const PAUSE: Duration = Duration::from_millis(10);

/// For `timeout`: far above what any of the programs takes, so that only one that hangs reaches it.
const PROGRAM_SECONDS: &str = "40";

/// One of the programs that `tests/env/tools.sh` fetches.
pub fn tool(name: &str) -> PathBuf {
    tools().join("bin").join(name)
}

/// One of this package's own programs, built by cargo together with the tests.
pub fn own(name: &str) -> PathBuf {
    PathBuf::from(match name {
        "pratique" => env!("CARGO_BIN_EXE_pratique"),
        "pratiqued" => env!("CARGO_BIN_EXE_pratiqued"),
        "pratique-runtime" => env!("CARGO_BIN_EXE_pratique-runtime"),
        "pratique-verifier" => env!("CARGO_BIN_EXE_pratique-verifier"),
        other => panic!("this package has no program `{other}`"),
    })
}

/// A script of `tests/env`.
pub fn script(name: &str) -> PathBuf {
    repository().join("tests/env").join(name)
}

/// The folder that holds the tools, filled by the first test that asks.
pub fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let uid = fs::metadata("/proc/self").expect("/proc is mounted").uid();
        assert_eq!(uid, 0, "these tests start containerd and need root; they run as user {uid}");
        let folder = env::var_os("PRATIQUE_TOOLS").map_or_else(|| repository().join(".tools"), PathBuf::from);
        // Fetching is the one step that may take minutes; with the tools in place the script only says so.
        let fetched = Command::new(script("tools.sh")).arg(&folder).output().expect("tools.sh starts");
        let said = text(&fetched.stdout) + &text(&fetched.stderr);
        assert!(fetched.status.success(), "containerd and the other tools cannot be fetched:\n{said}");
        folder
    })
}

/// The OCI layout of an image that prints its `name` when it is run: made once and kept beside the build's output.
pub fn layout(name: &str, options: &[&str]) -> PathBuf {
    layout_of(name, 2, options)
}

/// The same with so many layers.
pub fn layout_of(name: &str, layers: usize, options: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (fs::read(script("images.sh")).expect("images.sh is there"), layers, options).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("images-{:x}", hasher.finish()));
    fs::create_dir_all(&folder).expect("the target folder can be written");
    // Tests may run side by side in processes of their own.
    let lock = File::create(folder.join("lock")).expect("the target folder can be written");
    lock.lock().expect("a file can be locked");
    // Written last, so a layout that has it is whole.
    let complete = folder.join(format!("{name}.complete"));
    if !complete.try_exists().expect("the target folder can be read") {
        let mut command = Command::new(script("images.sh"));
        succeed(
            command.env("PRATIQUE_TOOLS", tools()).arg(&folder).args([name, name, &layers.to_string()]).args(options),
        );
        File::create(complete).expect("the target folder can be written");
    }
    folder.join(name)
}

/// Runs a program to its end, and kills it where that does not come.
pub fn run(command: &mut Command) -> Output {
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after=2", PROGRAM_SECONDS]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    bounded.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// Runs a program that must succeed, and gives what it wrote to standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let written = text(&output.stdout);
    assert!(output.status.success(), "{command:?} {}:\n{written}{}", output.status, text(&output.stderr));
    written
}

/// Runs a program, and gives what it wrote to standard output, or all that it said where it failed.
pub fn attempt(command: &mut Command) -> Result<String, String> {
    let output = run(command);
    let written = text(&output.stdout);
    if output.status.success() { Ok(written) } else { Err(written + &text(&output.stderr)) }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Looks again and again until there is something to see.
pub fn wait_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain until {what}");
        thread::park_timeout(PAUSE);
    }
}

/// Where the gRPC clients and the faulty registries of all tests live.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts"))
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
