//! `pratiqued`: answers every hook of this node.
//!
//! It starts with a whole policy or not at all, tells systemd when it answers, puts changed policies into force as they
//! come, and ends with every question answered that was asked.

mod decisions;
mod desk;
mod enroll;
mod error;
mod findings;
mod hook_socket;
mod inquiries;
mod layers;
mod logging;
mod metrics;
mod question;
mod reload;
mod server;
mod sockets;
mod starts;
mod systemd;
#[cfg(test)]
mod testing;

use std::env;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use error::StartError;

use self::desk::Desk;
use self::inquiries::Inquiries;
use self::metrics::Exposed;
use self::reload::{Reloads, Watch};
use self::server::Service;
use self::sockets::SocketFile;
use crate::clock;
use crate::config::{NodeConfig, NotationDir, PluginConfig, RegistryConfig, RevocationConfig};
use crate::hook::diff::{DiffService, Nonces};
use crate::judge::{
    Bounds, CacheOptions, Court, Enroller, Inventory, Judge, LocalImages, Places, Reconciler, RunGate, RunOptions,
    UnpackGate, UnpackOptions,
};
use crate::ledger::{Evidence, Ledger};
use crate::plugin::{NoPlugins, PluginFolder, Plugins, VerifierOptions, Verifiers};
use crate::policy::Reconcile;
use crate::remedy::{Remedy, one_line};
use crate::revocation::{RevocationOptions, Servers};
use crate::source::Source;
use crate::source::containerd::Containerd;
use crate::source::layout::SignatureStore;
use crate::source::registry::{Credentials, Registry, RegistryOptions};

/// The socket of the hooks, in the directory of the sockets.
pub const HOOK_SOCKET: &str = "hook.sock";
/// The socket of the daemon's own API, in the directory of the sockets.
pub const API_SOCKET: &str = "pratiqued.sock";
/// The socket that containerd's diff service asks, in the directory of the sockets.
pub const DIFF_SOCKET: &str = "diff.sock";
/// The socket that containerd's transfer service asks, in the directory of the sockets.
pub const DIFF_TRANSFER_SOCKET: &str = "diff-transfer.sock";
/// The ledger's file, in the directory of the state.
const LEDGER: &str = "ledger.redb";
/// The fetched revocation lists, in the directory of the state.
const CRLS: &str = "crl";
/// The file with docker's credentials, in docker's directory.
const CREDENTIALS: &str = "config.json";
/// The exit status of a daemon that could not start, or could not go on.
const COULD_NOT_TELL: u8 = 3;
/// How much longer than a question may take the daemon waits for the last ones, so that their answers are still sent.
const GRACE: Duration = Duration::from_secs(1);

/// Runs the daemon as this process, with the configuration at this path or at the usual one, until it is told to end.
pub fn main(config: Option<&Path>) -> ExitCode {
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = error.remedy().map(|remedy| format!("\nhint: {remedy}")).unwrap_or_default();
            // Before the log is set up, standard error is the only place.
            let _ = writeln!(io::stderr(), "error [{}]: {}{hint}", error.code(), one_line(&error));
            ExitCode::from(COULD_NOT_TELL)
        }
    }
}

fn run(config: Option<&Path>) -> Result<(), StartError> {
    let config = NodeConfig::load(config)?;
    logging::begin(&config.log)?;
    let cannot = |what| move |source| StartError::System { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(cannot("start the runtime"))?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot("wait for signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot("wait for signals"))?;
        let daemon = Daemon::start(&config, registry(&config)?).await?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        daemon.run(stop).await
    })
}

/// A daemon that answers questions.
pub struct Daemon {
    sockets: PathBuf,
    drain: watch::Sender<bool>,
    servers: JoinSet<Result<(), StartError>>,
    /// What must go on for as long as questions are answered: without it an old policy would stay in force unnoticed.
    background: JoinSet<()>,
    files: Vec<SocketFile>,
    patience: Duration,
}

impl Daemon {
    /// Starts a daemon on this configuration that looks for signatures in this source. When it returns, all sockets
    /// answer.
    pub async fn start(config: &NodeConfig, source: Arc<dyn Source>) -> Result<Self, StartError> {
        let reloads = Arc::new(Reloads::new(NotationDir::new(config.notation_dir.clone())));
        let watching = Watch::begin(Arc::clone(&reloads));
        let watch = watching.map_err(|source| StartError::System { what: "wait for SIGHUP", source })?;
        let trust = Arc::new(reloads.load()?);
        let judge = Judge::new(Arc::clone(&trust), source, bounds(config), cache(config));
        let inquiries = Inquiries::new();
        let judge = judge.with_boot_floor(config.boot_floor.iter().cloned().collect());
        let judge = judge.asking(inquiries.counting(servers(config)));
        let judge = judge.consulting(plugins(config));
        let gates = (config.gates.diff || config.gates.run).then(|| Gates::open(config)).transpose()?;
        let desk = Arc::new(match &gates {
            None => Desk::new(judge, config.mode),
            Some(gates) => gates.desk(judge, config),
        });

        let (hook, hook_file) = sockets::listen(&config.sockets.dir.join(HOOK_SOCKET)).await?;
        let (api, api_file) = sockets::listen(&config.sockets.dir.join(API_SOCKET)).await?;
        let (drain, draining) = watch::channel(false);
        let mut servers = JoinSet::new();
        let hooks = hook_socket::serve(hook, Arc::clone(&desk), draining.clone());
        servers.spawn(async {
            hooks.await;
            Ok(())
        });
        let mut files = vec![hook_file, api_file];
        if let Some(gates) = gates.as_ref().filter(|_| config.gates.diff) {
            files.extend(serve_diff(config, &gates.containerd, &desk, &mut servers, &draining).await?);
        }
        if let Some(address) = config.metrics.listen {
            let exposed = Exposed::new(Arc::clone(&desk), Arc::clone(&reloads), &inquiries);
            let (listener, draining) = (metrics::listen(address).await?, draining.clone());
            servers.spawn(async {
                metrics::serve(listener, exposed, draining).await;
                Ok(())
            });
        }
        let service = Service { desk: Arc::clone(&desk), reloads, started: clock::now(), draining };
        servers.spawn(async { server::serve(api, service).await.map_err(|_| StartError::PartFailed(API_SOCKET)) });
        let mut background = JoinSet::new();
        background.spawn(watch.run(Arc::clone(&desk)));
        if let Some(gates) = gates {
            gates.observe(config, desk, &mut background);
        }

        tracing::info!(digest = %trust.digest(), origin = trust.origin(), mode = config.mode.as_str(), "answering questions");
        systemd::ready(&trust);
        let patience = config.limits.total_timeout + GRACE;
        let sockets = config.sockets.dir.clone();
        Ok(Self { sockets, drain, servers, background, files, patience })
    }

    /// The directory in which the sockets lie.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Answers until `stop` is ready. Then no more questions are taken, those that were asked are answered, and the
    /// sockets are removed.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let failed = tokio::select! {
            () = stop => None,
            Some(ended) = self.servers.join_next() => Some(ended),
            Some(_) = self.background.join_next() => Some(Ok(Err(StartError::PartFailed("its background work")))),
        };
        systemd::stopping();
        tracing::info!("answering the last questions");
        self.background.abort_all();
        self.drain.send_replace(true);
        let all = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(self.patience, all).await.is_err() {
            tracing::warn!("connections that did not end were cut off");
        }
        drop(self.files);
        match failed {
            None => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(_) => Err(StartError::PartFailed("its sockets")),
        }
    }
}

/// What the gates behind a pull answer from: containerd, what it holds, and what must not be forgotten.
struct Gates {
    containerd: Containerd,
    inventory: Arc<Inventory>,
    ledger: Arc<Ledger>,
}

impl Gates {
    fn open(config: &NodeConfig) -> Result<Self, StartError> {
        let containerd = Containerd::new(&config.containerd.socket)?;
        let ledger = Ledger::open(&config.state_dir.join(LEDGER))?;
        let forgotten = ledger.sweep()?;
        tracing::debug!(forgotten, "the ledger is open");
        let inventory = Arc::new(Inventory::new(Arc::new(containerd.clone())));
        Ok(Self { containerd, inventory, ledger: Arc::new(ledger) })
    }

    fn desk(&self, judge: Judge, config: &NodeConfig) -> Desk {
        let (inventory, ledger) = (|| Arc::clone(&self.inventory), || Arc::clone(&self.ledger));
        let evidence = Arc::new(Evidence::of(ledger()));
        let store = SignatureStore::new(config.signature_store());
        let this_node: Vec<Arc<dyn Source>> = vec![Arc::new(store), Arc::clone(&evidence) as _, inventory()];
        let judge = judge.looking_first_in(this_node).keeping_in(evidence);
        let mut desk = Desk::new(judge, config.mode).with_ledger(ledger());
        if config.gates.diff {
            desk = desk.with_layers(UnpackGate::new(inventory(), unpack_options(config)));
        }
        let containerd = Arc::new(self.containerd.clone());
        let run_gate = || RunGate::new(Arc::clone(&containerd) as _, inventory(), ledger(), run_options(config));
        desk = desk.with_starts(run_gate(), config.gates.run);
        // Also where starts are not asked about: what is there is enrolled before they are.
        desk.with_enroller(Enroller::new(run_gate(), containerd, ledger()))
    }
}

impl Gates {
    /// Follows what happens in containerd.
    fn observe(self, config: &NodeConfig, desk: Arc<Desk>, background: &mut JoinSet<()>) {
        let Self { containerd, inventory, ledger } = self;
        background.spawn(async move { inventory.follow().await });
        if config.reconcile == Reconcile::Off || !config.gates.run {
            return;
        }
        let reconciler = Reconciler::new(Arc::new(containerd), ledger, config.reconcile);
        background.spawn(async move {
            let Some(gate) = desk.starts() else { return };
            reconciler.run(Court { judge: desk.judge(), gate, mode: desk.mode(), report: desk.as_ref() }).await;
        });
    }
}

/// The two sockets on which containerd asks about layers. A question that one of them passes on comes back on the other,
/// so they know each other's nonces.
async fn serve_diff(
    config: &NodeConfig,
    containerd: &Containerd,
    desk: &Arc<Desk>,
    servers: &mut JoinSet<Result<(), StartError>>,
    draining: &watch::Receiver<bool>,
) -> Result<[SocketFile; 2], StartError> {
    let nonces = Arc::new(Nonces::default());
    let falling_through = DiffService::falling_through(Arc::clone(desk), Arc::clone(&nonces));
    let delegating = DiffService::delegating(Arc::clone(desk), nonces, containerd.differ());
    let mut serve = async |name, service| {
        let (socket, file) = sockets::listen(&config.sockets.dir.join(name)).await?;
        let draining = draining.clone();
        servers.spawn(async move {
            layers::serve(socket, service, draining).await.map_err(|_| StartError::PartFailed(name))
        });
        Ok::<_, StartError>(file)
    };
    Ok([serve(DIFF_SOCKET, falling_through).await?, serve(DIFF_TRANSFER_SOCKET, delegating).await?])
}

fn unpack_options(config: &NodeConfig) -> UnpackOptions {
    UnpackOptions {
        orphan_layers: config.gates.orphan_layers,
        local: local_images(config),
        places: places(config.gates.ask_registry),
        registries: config.registry.insecure.clone(),
    }
}

fn run_options(config: &NodeConfig) -> RunOptions {
    let run = &config.run;
    RunOptions {
        local: local_images(config),
        places: places(run.ask_registry),
        without_image: run.without_image,
        builder_namespaces: run.builder_namespaces.clone(),
        sandbox: run.sandbox,
        image_volumes: run.image_volumes,
    }
}

fn local_images(config: &NodeConfig) -> LocalImages {
    let local = &config.local_images;
    LocalImages { scope: local.scope.clone(), places: places(local.ask_registry) }
}

fn places(ask_registry: bool) -> Places {
    if ask_registry { Places::Everywhere } else { Places::ThisNode }
}

fn bounds(config: &NodeConfig) -> Bounds {
    let limits = &config.limits;
    Bounds {
        total_timeout: limits.total_timeout,
        max_signatures: limits.max_signatures,
        envelope_size: limits.envelope_size,
    }
}

fn cache(config: &NodeConfig) -> CacheOptions {
    let cache = &config.cache;
    CacheOptions { max_age: cache.max_age, denied_for: cache.denied_for, capacity: cache.capacity }
}

/// The servers that say what was revoked.
fn servers(config: &NodeConfig) -> Servers {
    let RevocationConfig { timeout, ocsp_timeout, crl_timeout, allow_private, crl_dir } = config.revocation.clone();
    let cache_dir = Some(config.state_dir.join(CRLS));
    Servers::new(RevocationOptions { timeout, ocsp_timeout, crl_timeout, allow_private, crl_dir, cache_dir })
}

/// The verification plugins, where the operator has named a directory of them.
fn plugins(config: &NodeConfig) -> Arc<dyn Plugins> {
    let PluginConfig { dir, timeout, good_for } = config.plugins.clone();
    let Some(dir) = dir else { return Arc::new(NoPlugins) };
    let options = VerifierOptions { timeout, good_for, ..VerifierOptions::default() };
    Arc::new(Verifiers::new(PluginFolder::new(dir), options))
}

/// The registries, as the configuration says, and notation's own list of those without TLS.
fn registry(config: &NodeConfig) -> Result<Arc<dyn Source>, StartError> {
    let RegistryConfig { mut insecure, docker_config, config_path, host_timeout } = config.registry.clone();
    insecure.extend(NotationDir::new(config.notation_dir.clone()).insecure_registries()?);
    let files = match docker_config {
        Some(directory) => vec![directory.join(CREDENTIALS)],
        None => usual_credentials(),
    };
    let credentials = Credentials::Files(files);
    let options =
        RegistryOptions { insecure, credentials, host_timeout, hosts_dirs: config_path, ..RegistryOptions::default() };
    Ok(Arc::new(Registry::new(options)))
}

/// Where docker and kubelet look when they are not told: the directory in the environment, or the one of the user, and
/// kubelet's own.
fn usual_credentials() -> Vec<PathBuf> {
    let of_user = || {
        let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
        home.join(".docker")
    };
    let docker = env::var_os("DOCKER_CONFIG").map_or_else(of_user, PathBuf::from);
    vec![docker.join(CREDENTIALS), Path::new("/var/lib/kubelet").join(CREDENTIALS)]
}
