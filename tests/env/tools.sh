#!/usr/bin/env bash
# Fetches the tools that the tests and the demo need and puts them into one
# private folder. Nothing is installed on the machine itself.
#
#   tools.sh [DIR]      default DIR: <repo>/.tools
#
# Afterwards DIR/bin holds containerd, containerd-shim-runc-v2, ctr, runc,
# docker-registry, busybox, notation, oras, cosign and protoc. A second run
# finds DIR/stamp and returns at once.
set -euo pipefail

# containerd 2.1, notation 1.3, oras 1.3 and cosign 3 are only in newer suites.
NEWER_SUITE=forky
NEWER_PACKAGES=(containerd notation oras cosign)
# runc is the system's own: the newer suite's runc asks for newer libraries.
SYSTEM_PACKAGES=(runc docker-registry busybox-static
  protobuf-compiler libprotobuf-dev)
# The Debian package versions that the tests were written against.
declare -A EXPECTED=([containerd]=2.1. [notation]=1.3. [oras]=1.3. [cosign]=3.)
BINARIES=(containerd containerd-shim-runc-v2 ctr runc docker-registry busybox
  notation oras cosign)
TRIES=3

main() {
  script=$(realpath "${BASH_SOURCE[0]}")
  dir=${1:-$(dirname "$script")/../../.tools}
  own_folder
  mkdir -p "$dir" || fail "cannot make the folder $dir" "name a writable one: tools.sh DIR"
  dir=$(realpath "$dir")
  wanted=$(sha256sum "$script")
  wanted=${wanted%% *}
  up_to_date && return 0
  exec 9>"$dir/lock"
  flock 9
  # Another run may have done the work while this one waited for the lock.
  up_to_date && return 0
  require_debian
  work=$dir/work
  rm -rf "$work"
  trap 'rm -rf "$work"' EXIT
  write_sources
  update_lists
  download_packages
  unpack_packages
  link_binaries
  write_protoc_wrapper
  check_binaries
  echo "$wanted" >"$dir/stamp"
  say "ready: $dir/bin"
}

say() { echo "tools: $*"; }

fail() {
  echo "tools: error: $1" >&2
  echo "tools: what helps: $2" >&2
  exit 1
}

# DIR/bin and DIR/root are replaced, so DIR must not be someone else's folder.
own_folder() {
  [[ -e $dir/lock || -z $(ls -A "$dir" 2>/dev/null) ]] ||
    fail "$dir holds other files" "name a folder that is empty or not there yet"
}

up_to_date() { [[ -f $dir/stamp && $(<"$dir/stamp") == "$wanted" ]]; }

require_debian() {
  local command
  for command in apt-get apt-cache dpkg dpkg-deb; do
    command -v "$command" >/dev/null ||
      fail "$command is missing: the tools are unpacked from Debian packages" \
        "run this on Debian 12 or newer, or put the tools named at the top of this script into $dir/bin yourself"
  done
  # shellcheck source=/dev/null
  . /etc/os-release
  [[ ${ID:-} == debian && -n ${VERSION_CODENAME:-} ]] ||
    fail "this is ${PRETTY_NAME:-an unknown system}, not a Debian release" \
      "run this on Debian 12 or newer"
  suite=$VERSION_CODENAME
}

# apt with lists and caches of its own. The machine's apt.conf stays in force,
# so a proxy that is set there is used here too.
private_apt() {
  local program=$1
  shift
  "$program" -qq \
    -o Dir::State="$work/state" \
    -o Dir::State::status=/dev/null \
    -o Dir::Cache="$work/cache" \
    -o Dir::Etc::sourcelist="$work/sources.list" \
    -o Dir::Etc::sourceparts=- \
    -o Dir::Etc::preferences=/dev/null \
    -o Dir::Etc::preferencesparts="$work/none" \
    -o Acquire::Languages=none \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::Retries=1 \
    -o APT::Update::Error-Mode=any \
    -o APT::Sandbox::User=root \
    "$@"
}

# apt itself says where the machine gets its packages from: it reads both
# formats, sources.list and deb822.
machine_uri() {
  # shellcheck disable=SC2016 # apt fills this in, not the shell
  apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Component: main' "Release: $1" | head -n 1
}

write_sources() {
  local uri signed=
  uri=$(machine_uri "$suite")
  [[ -n $uri ]] ||
    fail "apt has no source for $suite main" \
      "add Debian $suite, component main, to the machine's apt sources"
  # This keyring comes with Debian, and a release's keyring already holds the
  # keys that sign the suites after it. Without the file, apt falls back on the
  # keys that the machine trusts in general; it never goes on unverified.
  if [[ -r /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
    signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
  fi
  mkdir -p "$work"/none "$work"/state/lists/partial "$work"/cache/archives/partial "$work"/debs
  printf 'deb %s%s %s main\n' "$signed" "$uri" "$suite" \
    "$signed" "$uri" "$NEWER_SUITE" | sort -u >"$work/sources.list"
}

retry() {
  local try
  for ((try = 1; try <= TRIES; try++)); do
    "$@" && return 0
    ((try < TRIES)) || break
    say "try $try of $TRIES failed, trying again"
    sleep "$((try * 2))"
  done
  return 1
}

update_lists() {
  say "reading the package lists of $suite and $NEWER_SUITE"
  retry private_apt apt-get update ||
    fail "the package lists cannot be had, or their signature is not good" \
      "check the network and the proxy with 'apt-get update'; for a signature, upgrade the package debian-archive-keyring"
}

download_packages() {
  local packages=() name
  for name in "${NEWER_PACKAGES[@]}"; do packages+=("$name/$NEWER_SUITE"); done
  for name in "${SYSTEM_PACKAGES[@]}" $(protobuf_libraries); do
    packages+=("$name/$suite")
  done
  say "downloading ${#packages[@]} packages"
  retry download "${packages[@]}" ||
    fail "a package cannot be downloaded" "check the network and the free disk space, then run this again"
}

download() { (cd "$work/debs" && private_apt apt-get download "$@"); }

# The names carry the libraries' version, which differs between suites.
protobuf_libraries() {
  private_apt apt-cache depends "protobuf-compiler/$suite" |
    sed -nE 's/^ *Depends: (libproto[a-z]*[0-9]+[a-z0-9]*)$/\1/p'
  private_apt apt-cache depends "libprotobuf-dev/$suite" |
    sed -nE 's/^ *Depends: (libprotobuf[0-9]+[a-z0-9]*)$/\1/p'
}

unpack_packages() {
  local deb name version
  mkdir "$work/root"
  for deb in "$work"/debs/*.deb; do
    name=$(dpkg-deb -f "$deb" Package)
    version=$(dpkg-deb -f "$deb" Version)
    say "unpacking $name $version"
    if [[ $version != "${EXPECTED[$name]:-}"* ]]; then
      say "note: the tests were written for $name ${EXPECTED[$name]}x"
    fi
    dpkg -x "$deb" "$work/root"
  done
  rm -f "$dir/stamp"
  rm -rf "${dir:?}/root" "${dir:?}/bin"
  mv "$work/root" "$dir/root"
}

# Relative links, so that the folder can be moved.
link_binaries() {
  local name place
  mkdir "$dir/bin"
  for name in "${BINARIES[@]}"; do
    for place in usr/bin usr/sbin bin sbin; do
      [[ -x $dir/root/$place/$name ]] || continue
      ln -s "../root/$place/$name" "$dir/bin/$name"
      break
    done
  done
}

# protoc needs its own shared libraries, and looks for google/protobuf/*.proto
# beside its binary (../include), where libprotobuf-dev has put them.
write_protoc_wrapper() {
  cat >"$dir/bin/protoc" <<'WRAPPER'
#!/bin/sh
root=$(dirname "$(realpath "$0")")/../root/usr
for lib in "$root"/lib/*-linux-gnu*; do
  LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$root/bin/protoc" "$@"
WRAPPER
  chmod 755 "$dir/bin/protoc"
}

# A tool of a newer suite may want a newer C library than the system's, which
# only shows when it runs.
check_binaries() {
  local name
  for name in "${BINARIES[@]}" protoc; do
    check_binary "$name" || fail "$name does not run here: $(<"$work/output")" \
      "use a newer Debian release, or install the library that is missing"
  done
}

check_binary() {
  local arguments=(--version)
  case $1 in
    notation | oras | cosign) arguments=(version) ;;
    busybox) arguments=(true) ;;
    containerd-shim-runc-v2) arguments=(-v) ;;
  esac
  "$dir/bin/$1" "${arguments[@]}" >"$work/output" 2>&1
}

main "$@"
