# shellcheck shell=bash
# A throw-away node for demos and tests: a registry and a containerd that live
# in one private folder and leave nothing behind. To be sourced by a script
# that runs with 'set -euo pipefail', as root:
#
#   . tests/env/node.sh
#   node_start DIR [VERSION]   DIR must be empty or not there yet; it is removed
#                           again when the script ends, however it ends. VERSION
#                           is containerd's, 2.1 (unless told) or 1.7
#   node_start_docker       start a dockerd in front of this node's containerd
#   node_docker ARGUMENT... docker on this node
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
# Set by node_start and node_start_docker:
#   NODE_DIR, NODE_REGISTRY (host:port), NODE_SOCKET (containerd's gRPC socket),
#   NODE_CONF (folder; every *.toml in it is merged into containerd's configuration),
#   NODE_VERIFIERS (image verifiers), NODE_OPT (NODE_OPT/bin comes first in containerd's PATH),
#   NODE_LOG (folder with containerd.log, registry.log and dockerd.log),
#   NODE_PAUSE (the name of the image that CRI starts for a pod's sandbox: push it
#   there first), NODE_DOCKER (dockerd's socket), NODE_CGROUP (the name of a cgroup for
#   pods; docker's containers are in it)
#
# PRATIQUE_TOOLS names the folder that tools.sh filled, if it isn't <repo>/.tools.

NODE_TOOLS=${PRATIQUE_TOOLS:-$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")/.tools}
NODE_START_SECONDS=${NODE_START_SECONDS:-20}
NODE_DIR='' node_containerd_pid='' node_registry_pid='' node_client_pid='' node_dockerd_pid=''
node_made_run_docker=''

node_start() {
  local dir
  dir=$(realpath -m "$1")
  node_choose "${2:-2.1}" || return 1
  node_check "$dir" || return 1
  mkdir -p "$dir"
  NODE_DIR=$dir
  NODE_SOCKET=$NODE_DIR/c.sock
  NODE_CONF=$NODE_DIR/conf.d
  NODE_VERIFIERS=$NODE_DIR/verifiers
  NODE_OPT=$NODE_DIR/opt
  NODE_LOG=$NODE_DIR/log
  NODE_DOCKER=$NODE_DIR/docker/d.sock
  NODE_CGROUP=pratique${NODE_DIR//\//-}
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

# Sets the folder that containerd, its shim and ctr come from.
node_choose() {
  node_version=$1
  case $1 in
    2.1) node_bin=$NODE_TOOLS/bin ;;
    1.7) node_bin=$NODE_TOOLS/containerd-1.7/bin ;;
    *) node_fail "there is no containerd $1 here" ;;
  esac
}

node_check() {
  local command
  ((EUID == 0)) || node_fail "containerd needs root" || return
  [[ $1 =~ ^/[A-Za-z0-9_./-]+$ ]] || node_fail "$1: no such characters in the folder's name" || return
  [[ -z $(ls -A "$1" 2>/dev/null) ]] || node_fail "$1 is not empty" || return
  # A unix socket's path has at most 107 characters, and the longest here is one of dockerd:
  # docker/exec/libnetwork/123456789abc.sock.
  ((${#1} <= 66)) || node_fail "$1 is too long a path for sockets" || return
  for command in "$node_bin"/{containerd,containerd-shim-runc-v2,ctr} \
    "$NODE_TOOLS"/bin/{runc,docker-registry,oras}; do
    [[ -x $command ]] || node_fail "$command is missing: run tests/env/tools.sh" || return
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
  PATH=$node_bin:$NODE_TOOLS/bin:$PATH setsid setpriv --pdeathsig KILL \
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
  NODE_PAUSE=$NODE_REGISTRY/demo/pause:v1
  [[ -n $NODE_REGISTRY ]]
}

node_write_config() {
  case $node_version in
    1.7) node_config_2 ;;
    *) node_config_3 ;;
  esac >"$NODE_DIR/containerd.toml"
}

node_config_3() {
  cat <<CONFIG
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

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$NODE_PAUSE"
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

# The same in the words of containerd 1.7.
node_config_2() {
  cat <<CONFIG
version = 2
root = "$NODE_DIR/root"
state = "$NODE_DIR/state"
temp = "$NODE_DIR/temp"
imports = ["$NODE_CONF/*.toml"]
disabled_plugins = [
  "io.containerd.nri.v1.nri",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
]

[grpc]
  address = "$NODE_SOCKET"
[ttrpc]
  address = "$NODE_SOCKET.ttrpc"
[debug]
  level = "debug"

[plugins."io.containerd.internal.v1.opt"]
  path = "$NODE_OPT"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$NODE_PAUSE"
  restrict_oom_score_adj = true
  cdi_spec_dirs = []
  enable_cdi = false
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$NODE_DIR/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$NODE_DIR/cni"
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
  node_start_containerd || return
  # dockerd notices late that containerd is back, and refuses everything until then.
  [[ -z $node_dockerd_pid ]] || wait_for node_dockerd_answers "$NODE_START_SECONDS" ||
    node_fail "dockerd did not find containerd again"
}

# dockerd in front of this node's containerd, with images in containerd's store. It touches no
# network of the machine: no bridge, no forwarding, no firewall rule.
node_start_docker() {
  local dir=$NODE_DIR/docker
  mkdir -p "$dir/config/cli-plugins"
  ln -s "$NODE_TOOLS/bin/docker-buildx" "$dir/config/cli-plugins/docker-buildx"
  # dockerd makes this folder, wherever its own are.
  node_made_run_docker=''
  [[ -e /run/docker ]] || node_made_run_docker=1
  cat >"$dir/daemon.json" <<CONFIG
{
  "features": {"containerd-snapshotter": true},
  "containerd": "$NODE_SOCKET",
  "hosts": ["unix://$NODE_DOCKER"],
  "data-root": "$dir/data",
  "exec-root": "$dir/exec",
  "pidfile": "$dir/dockerd.pid",
  "cgroup-parent": "/$NODE_CGROUP",
  "insecure-registries": ["$NODE_REGISTRY"],
  "bridge": "none",
  "ip-forward": false,
  "iptables": false,
  "ip6tables": false,
  "userland-proxy": false,
  "shutdown-timeout": 1
}
CONFIG
  # NODE_OPT/bin is not in its PATH, no more than containerd's own folder is on a machine.
  node_spawn "$NODE_LOG/dockerd.log" dockerd --config-file "$dir/daemon.json"
  node_dockerd_pid=$!
  wait_for node_dockerd_answers "$NODE_START_SECONDS" || {
    tail -n 20 "$NODE_LOG/dockerd.log" >&2
    node_fail "dockerd did not start"
    return 1
  }
}

node_dockerd_answers() {
  node_alive "$node_dockerd_pid" || return 2
  # It asks containerd for them.
  [[ -S $NODE_DOCKER ]] && node_docker images --quiet >/dev/null 2>&1
}

node_docker() {
  DOCKER_CONFIG=$NODE_DIR/docker/config "$NODE_TOOLS/bin/docker" --host "unix://$NODE_DOCKER" "$@"
}

node_ctr() { "$node_bin/ctr" --address "$NODE_SOCKET" "$@"; }

node_push() {
  "$NODE_TOOLS/bin/oras" cp --no-tty --from-oci-layout "$1:v1" \
    --to-plain-http "$NODE_REGISTRY/demo/$2:v1"
}

# runc's state and the container's pipes would be under /run/containerd: here they
# go into the folder. In the background, because a container may ignore Ctrl-C, and the shell
# runs no trap while it waits for a command in the foreground.
node_run() {
  local answer=0
  node_ctr run --rm --runc-root "$NODE_DIR/runc" --fifo-dir "$NODE_DIR/fifo" \
    --cgroup "/$NODE_CGROUP/${*: -1}" "$@" </dev/null &
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
    node_alive "$node_dockerd_pid" && node_remove_docker_containers
    node_end "$node_dockerd_pid"
    node_alive "$node_containerd_pid" && node_remove_tasks
    node_end "$node_containerd_pid"
    node_remove_bundles
    node_kill_shims
    node_end "$node_registry_pid"
    node_unmount
    [[ -z $node_dockerd_pid ]] || node_remove_docker
    node_remove_cgroups
    rm -rf --one-file-system "${NODE_DIR:?}"
  fi
  NODE_DIR='' node_containerd_pid='' node_registry_pid='' node_client_pid='' node_dockerd_pid=''
  set -e
  trap - EXIT HUP INT TERM
}

# dockerd would wait ten seconds for each of them when it is told to end.
node_remove_docker_containers() {
  local ids
  mapfile -t ids < <(node_docker ps --quiet)
  ((${#ids[@]} == 0)) || timeout 10 "$NODE_TOOLS/bin/docker" --host "unix://$NODE_DOCKER" rm -f "${ids[@]}"
} >/dev/null 2>&1

node_remove_tasks() {
  local namespace id ctr=(timeout 10 "$node_bin/ctr" --address "$NODE_SOCKET")
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
  local bundle namespace id path hash root
  for bundle in "$NODE_DIR"/state/io.containerd.runtime.v2.task/*/*/; do
    [[ -d $bundle ]] || continue
    bundle=${bundle%/}
    id=${bundle##*/}
    namespace=$(basename "${bundle%/*}")
    for root in "$NODE_DIR/runc/$namespace" "$NODE_DIR/docker/exec/runtime-runc/$namespace"; do
      [[ -d $root ]] && "$NODE_TOOLS/bin/runc" --root "$root" delete --force "$id"
    done
    for path in "$NODE_SOCKET/$namespace/$id" "$NODE_SOCKET/$namespace/$id/debug"; do
      hash=$(printf '%s' "$path" | sha256sum)
      rm -f "/run/containerd/s/${hash%% *}"
    done
  done >/dev/null 2>&1
}

# What dockerd leaves outside of its folders: steps of a build, which it runs without containerd,
# and an empty folder.
node_remove_docker() {
  local bundle
  for bundle in "$NODE_DIR"/docker/data/buildkit/executor/*/; do
    [[ -d $bundle ]] && "$NODE_TOOLS/bin/runc" delete --force "$(basename "$bundle")"
  done >/dev/null 2>&1
  [[ -z $node_made_run_docker ]] || rmdir /run/docker/plugins /run/docker 2>/dev/null
}

# In each hierarchy, or in the one that there is.
node_remove_cgroups() {
  local cgroup
  for cgroup in /sys/fs/cgroup/"$NODE_CGROUP" /sys/fs/cgroup/*/"$NODE_CGROUP"; do
    [[ -d $cgroup ]] && find "$cgroup" -depth -type d -exec rmdir {} +
  done 2>/dev/null
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
