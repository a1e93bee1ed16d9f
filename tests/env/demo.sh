#!/usr/bin/env bash
# Shows pratique at work, in front of a real containerd and a real registry that
# live in one private folder for as long as the demo runs:
#
#   demo.sh      as root; 'make demo' calls it
#
# An image signed by a trusted key is pulled and runs; one without signature is
# refused when it is pulled, when it is imported and when it is run; images that
# were signed by somebody else or tampered with are refused, and so is everything
# while pratiqued is down. Ends with a summary, and with 1 if something did not
# go as it says.
set -euo pipefail

repo=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
bin=${CARGO_TARGET_DIR:-$repo/target}/debug
daemon_pid='' steps=() surprises=0

main() {
  ((EUID == 0)) || fail "containerd needs root: sudo env PATH=\"\$PATH\" HOME=\"\$HOME\" make demo"
  prepare
  start_node
  start_pratiqued
  install_gate
  make_keys
  show_signed
  show_unsigned
  show_import
  show_run
  show_stranger
  show_tampered
  show_daemon_down
  summarise
}

headline() { printf '\n%s== %s%s\n' "$bold" "$1" "$plain"; }

say() { printf '   %s\n' "$*"; }

fail() {
  echo "demo: error: $*" >&2
  exit 1
}

prepare() {
  bold='' plain=''
  if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi
  headline "Fetching the tools and building pratique"
  "$repo/tests/env/tools.sh" "${PRATIQUE_TOOLS:-$repo/.tools}"
  [[ -x $bin/pratique ]] || say "the first build takes some minutes"
  cargo build --quiet --locked --manifest-path "$repo/Cargo.toml" --bins
  say "done"
}

start_node() {
  headline "Starting a node: containerd and a registry"
  # shellcheck source=tests/env/node.sh
  . "$repo/tests/env/node.sh"
  dir=$(mktemp -d "${TMPDIR:-/tmp}/pratique-demo-XXXXXX")
  notation=$dir/notation
  hook_socket=$dir/run/hook.sock
  node_start "$dir"
  trap clean_up EXIT
  say "$("$NODE_TOOLS/bin/containerd" --version | cut -d' ' -f1,3), registry at $NODE_REGISTRY"
}

# The folder holds everything else, too, and goes with the node.
clean_up() {
  [[ -z $daemon_pid ]] || node_end "$daemon_pid"
  node_stop
}

start_pratiqued() {
  headline "Starting pratiqued: images signed by the key 'release' may come in"
  mkdir -p "$dir/run" "$notation"
  cat >"$notation/trustpolicy.json" <<'POLICY'
{
  "version": "1.0",
  "trustPolicies": [
    {
      "name": "demo",
      "registryScopes": ["*"],
      "signatureVerification": { "level": "strict" },
      "trustStores": ["ca:release"],
      "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Notary, CN=release"]
    }
  ]
}
POLICY
  chmod 600 "$notation/trustpolicy.json"
  printf '%s\n' "notation_dir = \"$notation\"" "state_dir = \"$dir/state\"" '[sockets]' "dir = \"$dir/run\"" '[containerd]' "socket = \"$NODE_SOCKET\"" >"$dir/config.toml"
  # The trust store that the policy names must hold a certificate before the policy can be in force.
  pratique cert generate-test release
  node_spawn "$NODE_LOG/pratiqued.log" "$bin/pratiqued" --config "$dir/config.toml"
  daemon_pid=$!
  wait_for pratiqued_listens 20 || {
    cat "$NODE_LOG/pratiqued.log" >&2
    fail "pratiqued did not start"
  }
  say "pratiqued runs"
}

pratiqued_listens() {
  node_alive "$daemon_pid" || return 2
  [[ -S $hook_socket ]]
}

install_gate() {
  headline "Putting the gates before every pull, every unpack and every start"
  local command=(install --containerd-config "$NODE_DIR/containerd.toml" --state-dir "$dir/state" --socket "$hook_socket")
  say "\$ pratique ${command[*]}"
  # The programs that it asks and stands in for: containerd and runc.
  PATH=$NODE_TOOLS/bin:$PATH "$bin/pratique" "${command[@]}" >"$dir/answer"
  # What changes is shown as a diff; here its outline is enough.
  grep -E '^(created|changed|note)' "$dir/answer" | sed 's/^/     /'
  node_restart
}

make_keys() {
  headline "Making a key that nobody here has heard of"
  # In a folder of its own, so that the node does not come to trust it.
  notation=$dir/stranger pratique cert generate-test stranger
}

show_signed() {
  headline "An image signed by the key 'release' is pulled, and runs"
  push hello "Hello, I am signed"
  pratique sign "$signable" --key release
  expect_admitted
  expect_output "Hello, I am signed"
}

show_unsigned() {
  headline "An image without signature is refused"
  push unsigned "Nobody has signed me"
  expect_refused no-signature
}

show_import() {
  headline "It is refused as an archive, too, which no pull would see"
  archive=$dir/unsigned.tar
  tar -C "$dir/images/unsigned" -cf "$archive" .
  what=unsigned.tar
  try images import "$archive"
  expect_refusal no-local-statement "import"
}

show_run() {
  headline "And it does not run where its bytes are on the node already"
  image=$NODE_REGISTRY/demo/unsigned:v1 what=unsigned:v1
  try content fetch --plain-http "$image"
  say "fetched: blobs and a name, which nobody is asked about"
  printf '   $ ctr run %s\n' "$image"
  node_run "$image" "demo-$$" >"$dir/answer" 2>&1 && answer=0 || answer=$?
  expect_refusal no-signature "run"
}

show_stranger() {
  headline "An image signed by a key that the node does not trust is refused"
  push stranger "A stranger has signed me"
  notation=$dir/stranger pratique sign "$signable" --key stranger
  expect_refused untrusted-signer
}

show_tampered() {
  headline "An image whose signature was tampered with in the registry is refused"
  push tampered "My signature was altered"
  pratique sign "$signable" --key release
  tamper tampered
  expect_refused content-mismatch
}

show_daemon_down() {
  headline "While pratiqued is down, nothing comes in and nothing starts"
  push waiting "I have to wait"
  pratique sign "$signable" --key release
  node_end "$daemon_pid"
  daemon_pid=''
  say "pratiqued is stopped"
  expect_refused daemon-unreachable
  image=$NODE_REGISTRY/demo/hello:v1 what=hello:v1
  printf '   $ ctr run %s\n' "$image"
  node_run "$image" "demo-$$" >"$dir/answer" 2>&1 && answer=0 || answer=$?
  expect_refusal daemon-unreachable "run"
}

summarise() {
  headline "Summary"
  printf '   %s\n' "${steps[@]}"
  ((surprises == 0)) || fail "$surprises of ${#steps[@]} did not go as they should"
  printf '\n%sAll as it should be.%s\n' "$bold" "$plain"
}

# Sets image, and signable: a tag may be moved, so one signs a digest.
push() {
  image=$NODE_REGISTRY/demo/$1:v1
  signable=$NODE_REGISTRY/demo/$1@$("$repo/tests/env/images.sh" "$dir/images" "$1" "$2" | cut -d' ' -f2)
  node_push "$dir/images/$1" "$1" >"$dir/pushed"
  say "pushed $image"
}

# Shows the command line as one would type it, then its answer.
pratique() {
  printf '   $ pratique %s\n' "$*"
  "$bin/pratique" "$@" --notation-dir "$notation" >"$dir/answer" 2>&1 || {
    indent
    fail "pratique $1 failed"
  }
  indent
}

indent() { sed 's/^/     /' "$dir/answer"; }

pull() {
  printf '   $ ctr images pull %s\n' "$image"
  node_ctr images pull --plain-http "$image" >"$dir/answer" 2>&1
}

# Keeps how it ended in answer.
try() {
  printf '   $ ctr %s\n' "$*"
  node_ctr "$@" >"$dir/answer" 2>&1 && answer=0 || answer=$?
}

expect_admitted() {
  if pull; then
    say "pulled"
    passed "pulled" "${image##*/}"
  else
    indent
    surprised "could not be pulled" "${image##*/}"
  fi
}

expect_output() {
  local written
  printf '   $ ctr run %s\n' "$image"
  written=$(node_run "$image" "demo-$$") || :
  printf '     %s\n' "$written"
  if [[ $written == "$1" ]]; then
    passed "ran" "${image##*/}"
  else
    surprised "did not run" "${image##*/}"
  fi
}

expect_refused() {
  if pull; then
    say "pulled"
    surprised "was pulled" "${image##*/}"
  elif grep -qF "[$1]" "$dir/answer"; then
    indent
    passed "refused at pull: $1" "${image##*/}"
  else
    indent
    surprised "refused, but not with $1" "${image##*/}"
  fi
}

# What was tried last, and was to fail with this code.
expect_refusal() {
  indent
  if ((answer == 0)); then
    surprised "$2 went through" "$what"
  elif grep -qF "[$1]" "$dir/answer"; then
    passed "refused at $2: $1" "$what"
  else
    surprised "refused at $2, but not with $1" "$what"
  fi
}

passed() { steps+=("ok     $(printf '%-14s' "$2") $1"); }

surprised() {
  steps+=("WRONG  $(printf '%-14s' "$2") $1")
  surprises=$((surprises + 1))
}

# Alters one byte of the envelope where the registry stores it.
tamper() {
  local store=$dir/registry/docker/registry/v2 link hash file
  for link in "$store/repositories/demo/$1"/_layers/sha256/*; do
    hash=${link##*/}
    file=$store/blobs/sha256/${hash:0:2}/$hash/data
    if grep -q '"payload"' "$file"; then
      printf ' ' | dd of="$file" bs=1 conv=notrunc status=none
      say "altered the envelope sha256:${hash:0:12}…"
      return
    fi
  done
  fail "the registry has no envelope of demo/$1"
}

main "$@"
