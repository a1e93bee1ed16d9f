//! A `pratiqued` that ends with the test.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::tools::{own, text, wait_until};

/// Starting takes well below a second, also with an unoptimised build on a machine that is busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(20);

pub struct Pratiqued {
    folder: PathBuf,
    child: Option<Child>,
}

impl Pratiqued {
    /// Starts the daemon with its sockets in `FOLDER/run` and these further settings, and waits until it can be asked.
    pub fn start(folder: &Path, notation_dir: &Path, total_timeout: &str, settings: &str) -> Self {
        let sockets = folder.join("run");
        fs::create_dir_all(&sockets).expect("the sockets' folder can be made");
        let config = format!(
            "notation_dir = '{}'\nstate_dir = '{}'\nsockets.dir = '{}'\nlimits.total_timeout = '{total_timeout}'\n\
             containerd.socket = '{}'\n{settings}",
            notation_dir.display(),
            folder.join("state").display(),
            sockets.display(),
            folder.join("node/c.sock").display()
        );
        fs::write(folder.join("config.toml"), config).expect("the configuration can be written");
        let mut pratiqued = Self { folder: folder.to_owned(), child: None };
        pratiqued.start_again();
        pratiqued
    }

    /// Puts these settings before the others, for its next start.
    #[allow(dead_code, reason = "the benchmark has no need")]
    pub fn configure(&self, settings: &str) {
        let path = self.folder.join("config.toml");
        let old = fs::read_to_string(&path).expect("the configuration can be read");
        fs::write(&path, format!("{settings}{old}")).expect("the configuration can be written");
    }

    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "pratiqued runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log file");
        // setpriv makes it end with the test's thread, should that not come to its end.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(own("pratiqued"))
            .arg("--config")
            .arg(self.folder.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("setpriv starts");
        let child = self.child.insert(child);
        let socket = self.folder.join("run/hook.sock");
        let log = self.folder.join("pratiqued.log");
        wait_until("pratiqued listens", START_LIMIT, || {
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "pratiqued ended: {}", text(&fs::read(&log).unwrap_or_default()));
            UnixStream::connect(&socket).ok()
        });
    }

    /// Asks it to end, as the service manager does.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("pratiqued runs");
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill starts");
        assert!(asked.success());
        let status = wait_until("pratiqued has stopped", START_LIMIT, || child.try_wait().expect("a child"));
        assert!(status.success(), "pratiqued was asked to end and {status}");
    }

    /// Ends it with SIGKILL, which gives it no moment to say anything.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("pratiqued runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// The process that runs.
    #[allow(dead_code, reason = "the benchmark asks")]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("pratiqued runs").id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        text(&fs::read(self.log_file()).unwrap_or_default())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("pratiqued.log")
    }
}

impl Drop for Pratiqued {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
