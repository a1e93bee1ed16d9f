# shellcheck shell=bash
# A throw-away node for demos and tests: a registry and a containerd that live
# in one private folder and leave nothing behind. To be sourced by a script
# that runs with 'set -euo pipefail', as root:
#
#   . tests/env/node.sh
#   node_start DIR          DIR must be empty or not there yet; it is removed
#                           again when the script ends, however it ends
#   node_push LAYOUT NAME   push an image made by images.sh as $NODE_REGISTRY/demo/NAME:v1
#   node_ctr ARGUMENT...    ctr on this node
#   node_run IMAGE ID       run the image's command and remove the container; its
#                           standard input is empty
#   node_restart            stop and start containerd, to read its configuration again
#   node_stop               what the end of the script does by itself; a script with
#                           an EXIT trap of its own sets that after node_start and
#                           calls node_stop in it
#   free_port               print a loopback port that nothing listens on
#   wait_for COMMAND SECONDS   wait until the command line succeeds
#
# Set by node_start:
#   NODE_DIR, NODE_REGISTRY (host:port), NODE_SOCKET (containerd's gRPC socket),
#   NODE_CONF (folder; every *.toml in it is merged into containerd's configuration),
#   NODE_VERIFIERS (image verifiers), NODE_OPT (NODE_OPT/bin comes first in containerd's PATH),
#   NODE_LOG (folder with containerd.log and registry.log)
#
# PRATIQUE_TOOLS names the folder that tools.sh filled, if it isn't <repo>/.tools.

NODE_TOOLS=${PRATIQUE_TOOLS:-$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")/.tools}
NODE_START_SECONDS=${NODE_START_SECONDS:-20}
NODE_DIR='' node_containerd_pid='' node_registry_pid='' node_client_pid=''

node_start() {
  local dir
  dir=$(realpath -m "$1")
  node_check "$dir" || return 1
  mkdir -p "$dir"
  NODE_DIR=$dir
  NODE_SOCKET=$NODE_DIR/c.sock
  NODE_CONF=$NODE_DIR/conf.d
  NODE_VERIFIERS=$NODE_DIR/verifiers
  NODE_OPT=$NODE_DIR/opt
  NODE_LOG=$NODE_DIR/log
  trap node_stop EXIT
  # Ending through exit runs the trap above once, and tells the caller why.
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mkdir -p "$NODE_CONF" "$NODE_VERIFIERS" "$NODE_OPT/bin" "$NODE_LOG" "$NODE_DIR"/{cni,registry}
  node_start_registry
  node_write_config
  node_start_containerd
}

node_check() {
  local command
  ((EUID == 0)) || node_fail "containerd needs root" || return
  [[ $1 =~ ^/[A-Za-z0-9_./-]+$ ]] || node_fail "$1: no such characters in the folder's name" || return
  [[ -z $(ls -A "$1" 2>/dev/null) ]] || node_fail "$1 is not empty" || return
  # A unix socket's path has at most 107 characters, and the longest here is c.sock.ttrpc.
  ((${#1} <= 80)) || node_fail "$1 is too long a path for sockets" || return
  for command in containerd containerd-shim-runc-v2 ctr runc docker-registry oras; do
    [[ -x $NODE_TOOLS/bin/$command ]] ||
      node_fail "$NODE_TOOLS/bin/$command is missing: run tests/env/tools.sh" || return
  done
}

node_fail() {
  echo "node: error: $*" >&2
  return 1
}

# Starts a server of the node, its process id in $!. A session of its own keeps
# the terminal's Ctrl-C from it, so that the clean-up can still use it; and it
# ends with this shell if even the clean-up is killed.
node_spawn() {
  local log=$1
  shift
  PATH=$NODE_TOOLS/bin:$PATH setsid setpriv --pdeathsig KILL \
    "$@" >>"$log" 2>&1 </dev/null &
}

# Port 0 lets the kernel choose, so that nothing can take the port in between.
node_start_registry() {
  printf '%s\n' 'version: 0.1' 'log: {level: info}' \
    "storage: {filesystem: {rootdirectory: $NODE_DIR/registry}, delete: {enabled: true}}" \
    'http: {addr: "127.0.0.1:0"}' >"$NODE_DIR/registry.yml"
  node_spawn "$NODE_LOG/registry.log" docker-registry serve "$NODE_DIR/registry.yml"
  node_registry_pid=$!
  wait_for node_registry_listens "$NODE_START_SECONDS" || {
    tail -n 20 "$NODE_LOG/registry.log" >&2
    node_fail "the registry did not start"
    return 1
  }
}

node_registry_listens() {
  node_alive "$node_registry_pid" || return 2
  NODE_REGISTRY=$(sed -nE 's/.*listening on (127\.0\.0\.1:[0-9]+).*/\1/p' "$NODE_LOG/registry.log" | tail -n 1)
  [[ -n $NODE_REGISTRY ]]
}

node_write_config() {
  cat >"$NODE_DIR/containerd.toml" <<CONFIG
version = 3
root = "$NODE_DIR/root"
state = "$NODE_DIR/state"
temp = "$NODE_DIR/temp"
imports = ["$NODE_CONF/*.toml"]
# NRI and tracing are not used; the rest are snapshotters that cannot work here.
disabled_plugins = [
  "io.containerd.nri.v1.nri",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs",
]

[grpc]
  address = "$NODE_SOCKET"
[ttrpc]
  address = "$NODE_SOCKET.ttrpc"
[debug]
  level = "debug"

[plugins."io.containerd.internal.v1.opt"]
  path = "$NODE_OPT"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "$NODE_VERIFIERS"

[plugins."io.containerd.cri.v1.runtime"]
  # A sandboxed machine may lack CAP_SYS_RESOURCE, and then a lower score is refused.
  restrict_oom_score_adj = true
  cdi_spec_dirs = []
  enable_cdi = false
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      Root = "$NODE_DIR/runc"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$NODE_DIR/cni"]
    conf_dir = "$NODE_DIR/cni"
CONFIG
}

node_start_containerd() {
  node_spawn "$NODE_LOG/containerd.log" containerd --config "$NODE_DIR/containerd.toml"
  node_containerd_pid=$!
  wait_for node_containerd_answers "$NODE_START_SECONDS" || {
    tail -n 20 "$NODE_LOG/containerd.log" >&2
    node_fail "containerd did not start"
    return 1
  }
}

node_containerd_answers() {
  node_alive "$node_containerd_pid" || return 2
  [[ -S $NODE_SOCKET ]] && node_ctr version >/dev/null 2>&1
}

node_restart() {
  node_end "$node_containerd_pid"
  node_containerd_pid=''
  node_start_containerd
}

node_ctr() { "$NODE_TOOLS/bin/ctr" --address "$NODE_SOCKET" "$@"; }

node_push() {
  "$NODE_TOOLS/bin/oras" cp --no-tty --from-oci-layout "$1:v1" \
    --to-plain-http "$NODE_REGISTRY/demo/$2:v1"
}

# runc's state and the container's pipes would be under /run/containerd: here they
# go into the folder. In the background, because a container may ignore Ctrl-C, and the shell
# runs no trap while it waits for a command in the foreground.
node_run() {
  local answer=0
  node_ctr run --rm --runc-root "$NODE_DIR/runc" --fifo-dir "$NODE_DIR/fifo" "$@" </dev/null &
  node_client_pid=$!
  wait "$node_client_pid" || answer=$?
  node_client_pid=''
  return "$answer"
}

# Ends what was started and removes the folder. Nothing in here may stop the
# rest of the clean-up, so a step that fails is passed over.
node_stop() {
  trap '' HUP INT TERM
  set +e
  if [[ -n $NODE_DIR ]]; then
    node_end "$node_client_pid"
    node_alive "$node_containerd_pid" && node_remove_tasks
    node_end "$node_containerd_pid"
    node_remove_bundles
    node_kill_shims
    node_end "$node_registry_pid"
    node_unmount
    rm -rf --one-file-system "${NODE_DIR:?}"
  fi
  NODE_DIR='' node_containerd_pid='' node_registry_pid='' node_client_pid=''
  set -e
  trap - EXIT HUP INT TERM
}

node_remove_tasks() {
  local namespace id ctr=(timeout 10 "$NODE_TOOLS/bin/ctr" --address "$NODE_SOCKET")
  for namespace in $("${ctr[@]}" namespaces ls -q); do
    for id in $("${ctr[@]}" -n "$namespace" tasks ls -q); do
      "${ctr[@]}" -n "$namespace" tasks rm -f "$id"
    done
  done >/dev/null 2>&1
}

# What containerd could not remove any more, when it was killed: the container
# with its cgroup, and the shim's two sockets, which are outside of the folder
# and named by a hash.
node_remove_bundles() {
  local bundle namespace id path hash
  for bundle in "$NODE_DIR"/state/io.containerd.runtime.v2.task/*/*/; do
    [[ -d $bundle ]] || continue
    bundle=${bundle%/}
    id=${bundle##*/}
    namespace=$(basename "${bundle%/*}")
    "$NODE_TOOLS/bin/runc" --root "$NODE_DIR/runc/$namespace" delete --force "$id"
    for path in "$NODE_SOCKET/$namespace/$id" "$NODE_SOCKET/$namespace/$id/debug"; do
      hash=$(printf '%s' "$path" | sha256sum)
      rm -f "/run/containerd/s/${hash%% *}"
    done
  done >/dev/null 2>&1
}

node_kill_shims() {
  local pid
  for pid in $(node_shims); do kill -KILL "$pid" 2>/dev/null; done
  wait_for node_no_shims 5
}

node_no_shims() { [[ -z $(node_shims) ]]; }

# A shim is known by the socket in its arguments, which only this node has.
node_shims() {
  local pid
  grep -lzxF -- "$NODE_SOCKET" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 |
    while read -r pid; do
      if [[ $(readlink "/proc/$pid/exe") == *containerd-shim* ]]; then echo "$pid"; fi
    done
}

node_unmount() {
  local place
  # Field 5 is the mount point; the last mounted one goes first.
  awk -v dir="$NODE_DIR/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac |
    while read -r place; do umount -l "$place"; done
}

# Ends a child of this shell. As long as it has not been waited for, its id
# cannot be another process's.
node_end() {
  [[ -n $1 ]] || return 0
  kill -TERM "$1" 2>/dev/null || :
  wait_for "node_gone $1" 10 || kill -KILL "$1" 2>/dev/null || :
  wait "$1" 2>/dev/null || :
}

node_alive() { [[ -n $1 ]] && ! node_gone "$1"; }

node_gone() {
  local state
  state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 0
  [[ -z $state || $state == Z ]]
}

# Waits until a command line succeeds; gives up after so many seconds, or at
# once when it answers 2, which says that it can no longer come true.
wait_for() {
  local answer deadline=$(($(date +%s%N) + $2 * 1000000000))
  while :; do
    answer=0
    # Word splitting is meant: the condition is a command with its arguments.
    # shellcheck disable=SC2086
    $1 || answer=$?
    ((answer != 0)) || return 0
    ((answer != 2)) || return 1
    (($(date +%s%N) < deadline)) || return 1
    sleep 0.05
  done
}

# Below the range from which the kernel gives ports to outgoing connections.
free_port() {
  local port try
  for ((try = 0; try < 100; try++)); do
    port=$((20000 + RANDOM % 12000))
    grep -qi ":$(printf '%04X' "$port") " /proc/net/tcp /proc/net/tcp6 2>/dev/null || {
      echo "$port"
      return 0
    }
  done
  node_fail "no free port found"
}
