//! Does anything come in, or start, while the daemon dies again and again?
//!
//! Images are pulled, imported and run by several clients at once, and the daemon is killed and started at random moments.
//! What nobody has signed is never unpacked and never starts; what is signed may have to wait, and is never called
//! anything else. The seed of the random moments is printed; `PRATIQUE_CHAOS_SEED` sets it.

use std::env;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Cast, Kind, Role, settings};
use crate::containerd::Inventory;
use crate::node::{Image, Node};
use crate::pratiqued::Pratiqued;
use crate::scene::Scene;
use crate::tools::wait_until;

const JOBS: usize = 200;

/// After this no new job is begun, however many are left: a slow machine is no reason to fail.
const LIMIT: Duration = Duration::from_secs(60);

/// More clients than this machine may have processors, so that the daemon dies in the middle of several questions.
const CLIENTS: usize = 4;

/// The daemon is killed after so many images have run at most, and a moment.
const RUNS_BETWEEN: usize = 6;
const MOMENT: Duration = Duration::from_millis(200);

/// containerd's longest pause between two attempts to connect is 3 seconds: until then nothing may run.
const RECONNECT: Duration = Duration::from_secs(4);

/// Enough for several of them on a machine that is busy with other tests.
const RECOVERY: Duration = Duration::from_secs(20);

/// In the end what has run is run again, and one of so many of the others is tried again.
const OTHERS: usize = 3;

/// So that not every job asks about an image that was judged already.
const CASTS: usize = 3;

/// A job: an image, the way that it takes, and the namespace that it takes it into.
struct Job<'a> {
    namespace: String,
    cast: &'a Cast,
    kind: Kind,
    way: usize,
}

#[test]
fn nothing_comes_in_or_starts_unverified_while_the_daemon_is_killed_again_and_again() {
    let seed = env::var("PRATIQUE_CHAOS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(process::id()));
    eprintln!("PRATIQUE_CHAOS_SEED={seed}");

    let mut scene = Scene::guarded_on(Node::start(), settings);
    let casts: Vec<Cast> = (0..CASTS).map(|number| Cast::new(&scene, &format!("chaos{number}"))).collect();
    let jobs = jobs(&casts, &mut Random(seed));
    let Scene { daemon, node, .. } = &mut scene;
    let (ran, kills) = riot(node, daemon, &jobs, Random(seed));
    let runs = ran.iter().filter(|(_, has_run)| *has_run).count();
    eprintln!("{} of {JOBS} jobs, {runs} have run, {kills} kills", ran.len());
    assert!(kills > 0 && runs > 0, "nothing was tried");

    let tried_again = ran.iter().enumerate().filter(|(number, (_, has_run))| *has_run || number % OTHERS == 0);
    let tried_again: Vec<_> = tried_again.map(|(_, done)| done).collect();
    side_by_side(&tried_again, |(job, has_run)| works_again(&scene, job, *has_run));
    for (job, _) in &ran {
        let left = Inventory::of_namespace(&scene, &job.namespace);
        assert!(left.leases.is_empty() && left.ingests.is_empty(), "{left:?}");
        let unfinished = left.snapshots.iter().find(|name| name.contains("/extract-"));
        assert_eq!(unfinished, None, "{left:?}");
    }
}

fn jobs<'a>(casts: &'a [Cast], random: &mut Random) -> Vec<Job<'a>> {
    let job = |number| Job {
        namespace: format!("job{number}"),
        cast: &casts[random.index(CASTS)],
        kind: Kind::ALL[random.index(Kind::ALL.len())],
        way: random.index(WAYS),
    };
    (0..JOBS).map(job).collect()
}

/// Does all jobs while the daemon dies; tells which were done, whether their image has run, and how often the daemon died.
fn riot<'a>(
    node: &Node,
    daemon: &mut Pratiqued,
    jobs: &'a [Job<'a>],
    random: Random,
) -> (Vec<(&'a Job<'a>, bool)>, usize) {
    let done = Mutex::new(Vec::new());
    let (next, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let deadline = Instant::now() + LIMIT;
    let client = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| Instant::now() < deadline) {
            let has_run = work(node, job);
            runs.fetch_add(usize::from(has_run), Ordering::Relaxed);
            done.lock().expect("no job has panicked").push((job, has_run));
        }
    };
    let kills = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        // Here and in no other thread: the daemon ends with the thread that has started it.
        let kills = kill_while(daemon, random, &runs, || clients.iter().any(|client| !client.is_finished()));
        for client in clients {
            client.join().expect("no job has panicked");
        }
        kills
    });
    (done.into_inner().expect("no job has panicked"), kills)
}

/// Kills the daemon at random moments, and leaves it running.
fn kill_while(daemon: &mut Pratiqued, mut random: Random, runs: &AtomicUsize, wanted: impl Fn() -> bool) -> usize {
    let mut kills = 0;
    while wanted() {
        let enough = runs.load(Ordering::Relaxed) + random.index(RUNS_BETWEEN);
        let limit = Instant::now() + RECONNECT;
        while runs.load(Ordering::Relaxed) < enough && Instant::now() < limit && wanted() {
            thread::park_timeout(MOMENT / 20);
        }
        // Not to wait for anything: the moment is what is random.
        thread::park_timeout(random.below(MOMENT));
        daemon.kill();
        kills += 1;
        thread::park_timeout(random.below(MOMENT));
        daemon.start_again();
    }
    kills
}

/// Takes an image in and runs it. Whether it ran; and it may have only where somebody has signed it.
fn work(node: &Node, job: &Job<'_>) -> bool {
    let role = job.cast.role(job.kind);
    if job.kind == Kind::Evil {
        // Nothing of the evil image need be unpacked where this one is. With the daemon down it does not come in.
        let _ = pull_local(node, job, &job.cast.admitted);
    }
    let reference = &role.image.reference;
    let answer = take(node, job, role).and_then(|_| node.try_run(&job.namespace, &[reference]));
    match (&answer, job.kind) {
        (Ok(printed), Kind::Admitted) => assert_eq!(*printed, role.prints),
        (Ok(printed), _) => panic!("{reference} ran and printed `{printed}`, and nobody has signed it"),
        (Err(message), Kind::Admitted) => assert!(!message.contains("denied: "), "{reference} is signed: {message}"),
        (Err(_), _) => {}
    }
    if job.kind == Kind::Unsigned {
        let held = Inventory::of_namespace(node, &job.namespace).snapshots;
        // What has been begun is removed after a moment.
        let unpacked = held.iter().find(|name| !name.contains("/extract-"));
        assert_eq!(unpacked, None, "{reference} was unpacked, and nobody has signed it");
    }
    answer.is_ok()
}

const WAYS: usize = 5;

fn take(node: &Node, job: &Job<'_>, role: &Role) -> Result<String, String> {
    let Image { reference, .. } = &role.image;
    let import: &[&str] = match job.way {
        0 => return node.try_ctr(&job.namespace, &["images", "pull", "--plain-http", reference]),
        1 => return pull_local(node, job, role),
        2 => &["images", "import"],
        3 => &["images", "import", "--local"],
        _ => &["images", "import", "--no-unpack"],
    };
    // Several jobs may have the same image.
    let archive = node.folder().join(format!("{}.tar", job.namespace));
    role.archive.archive_at(&archive);
    let archive = archive.to_str().expect("a path of plain characters");
    node.try_ctr(&job.namespace, &[import, &["--base-name", role.image.repository(), archive]].concat())
}

fn pull_local(node: &Node, job: &Job<'_>, role: &Role) -> Result<String, String> {
    node.try_ctr(&job.namespace, &["images", "pull", "--plain-http", "--local", &role.image.reference])
}

/// The daemon is back. What has run runs again: nothing that it had to remember is lost. What could not be told is told.
fn works_again(scene: &Scene, job: &Job<'_>, has_run: bool) {
    let role = job.cast.role(job.kind);
    let take_and_run = || {
        let taken = if has_run { Ok(String::new()) } else { pull_local(scene, job, role) };
        taken.and_then(|_| scene.try_run(&job.namespace, &[&role.image.reference]))
    };
    if job.kind == Kind::Admitted {
        let printed = wait_until("a signed image runs", RECOVERY, || take_and_run().ok());
        assert_eq!(printed, role.prints);
        return;
    }
    wait_until("it is told why the image does not run", RECOVERY, || {
        let message = take_and_run().expect_err("nobody has signed it");
        role.refusal(&message).filter(|_| message.contains("[no-signature]"))
    });
}

/// Does the same to all of these, as many at a time as there are clients.
fn side_by_side<T: Sync>(all: &[T], one: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(item) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(item);
                }
            });
        }
    });
}

/// A sequence that looks random and is the same for the same seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % length as u64).expect("below a length")
    }

    fn below(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(f64::from(u32::try_from(self.next() >> 32).expect("32 bits")) / f64::from(u32::MAX))
    }
}
