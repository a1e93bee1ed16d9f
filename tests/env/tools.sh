#!/usr/bin/env bash
# Fetches the tools that the tests and the demo need and puts them into one
# private folder. Nothing is installed on the machine itself.
#
#   tools.sh [DIR]      default DIR: <repo>/.tools
#
# Afterwards DIR/bin holds containerd, containerd-shim-runc-v2, ctr, runc, crun,
# dockerd, docker, docker-buildx, docker-registry, busybox, notation, oras, cosign,
# softhsm2-util, pkcs11-tool and protoc; DIR/root/usr/lib/softhsm SoftHSM's module; and DIR/containerd-1.7/bin an older containerd with its shim and ctr.
# About 140 MB are downloaded for it. A second run finds DIR/stamp and returns at
# once.
set -euo pipefail

# containerd 2.1, docker 28, notation 1.3, oras 1.3 and cosign 3 are only in newer
# suites.
NEWER_SUITE=forky
NEWER_PACKAGES=(containerd docker.io docker-cli docker-buildx notation oras cosign)
# The suite before that has the last containerd without image verifiers. It gets a
# folder of its own, because its files have the same names.
OLDER_SUITE=trixie
OLDER_PACKAGES=(containerd)
OLDER_FOLDER=containerd-1.7
# runc and crun are the system's own: the newer suites' ask for newer libraries.
SYSTEM_PACKAGES=(runc crun docker-registry busybox-static
  protobuf-compiler libprotobuf-dev
  softhsm2 softhsm2-common libsofthsm2 opensc opensc-pkcs11)
# The Debian package versions that the tests were written against.
declare -A EXPECTED=([containerd]=2.1. [docker.io]=28. [docker-cli]=28. [docker-buildx]=0.
  [notation]=1.3. [oras]=1.3. [cosign]=3.)
declare -A OLDER_EXPECTED=([containerd]=1.7.)
BINARIES=(containerd containerd-shim-runc-v2 ctr runc dockerd docker docker-buildx
  docker-registry busybox notation oras cosign)
OLDER_BINARIES=(containerd containerd-shim-runc-v2 ctr)
# These need shared libraries that are unpacked beside them.
WRAPPED=(protoc crun softhsm2-util pkcs11-tool)
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
  write_wrappers
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
  mkdir -p "$work"/none "$work"/state/lists/partial "$work"/cache/archives/partial "$work"/{debs,older-debs}
  printf 'deb %s%s %s main\n' "$signed" "$uri" "$suite" "$signed" "$uri" "$OLDER_SUITE" \
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
  say "reading the package lists of $suite, $OLDER_SUITE and $NEWER_SUITE"
  retry private_apt apt-get update ||
    fail "the package lists cannot be had, or their signature is not good" \
      "check the network and the proxy with 'apt-get update'; for a signature, upgrade the package debian-archive-keyring"
}

download_packages() {
  local packages=() older=() name
  for name in "${NEWER_PACKAGES[@]}"; do packages+=("$name/$NEWER_SUITE"); done
  for name in "${OLDER_PACKAGES[@]}"; do older+=("$name/$OLDER_SUITE"); done
  for name in "${SYSTEM_PACKAGES[@]}" $(protobuf_libraries) $(crun_libraries) $(token_libraries); do
    packages+=("$name/$suite")
  done
  say "downloading $((${#packages[@]} + ${#older[@]})) packages"
  { retry download debs "${packages[@]}" && retry download older-debs "${older[@]}"; } ||
    fail "a package cannot be downloaded" "check the network and the free disk space, then run this again"
}

download() {
  local folder=$1
  shift
  (cd "$work/$folder" && private_apt apt-get download "$@")
}

# The names carry the libraries' version, which differs between suites.
protobuf_libraries() {
  depends_of protobuf-compiler 'libproto[a-z]*[0-9]+[a-z0-9]*'
  depends_of libprotobuf-dev 'libprotobuf[0-9]+[a-z0-9]*'
}

# Its other libraries are those of runc, or come with every Debian.
crun_libraries() { depends_of crun '(libyajl|libseccomp|libsystemd|libcap)[0-9]+[a-z0-9]*'; }

# OpenSSL's library is the system's: the module is loaded into programs that are not
# wrapped, and the tests call openssl anyway.
token_libraries() {
  depends_of softhsm2 'libsqlite3-[a-z0-9]+'
  depends_of opensc-pkcs11 'libglib2[.]0-[a-z0-9]+'
  depends_of libglib2.0-0 'libffi[0-9]+[a-z0-9]*'
}

depends_of() {
  private_apt apt-cache depends "$1/$suite" | sed -nE "s/^ *Depends: ($2)\$/\\1/p"
}

unpack_packages() {
  local deb
  mkdir "$work/root" "$work/older-root"
  for deb in "$work"/debs/*.deb; do
    describe "$deb" EXPECTED
    dpkg -x "$deb" "$work/root"
  done
  for deb in "$work"/older-debs/*.deb; do
    describe "$deb" OLDER_EXPECTED
    # Only the programs: the rest is in the newer package, too.
    dpkg-deb --fsys-tarfile "$deb" |
      tar -x -C "$work/older-root" "${OLDER_BINARIES[@]/#/./usr/bin/}"
  done
  rm -f "$dir/stamp"
  rm -rf "${dir:?}/root" "${dir:?}/bin" "${dir:?}/$OLDER_FOLDER"
  mv "$work/root" "$dir/root"
  mkdir "$dir/$OLDER_FOLDER"
  mv "$work/older-root" "$dir/$OLDER_FOLDER/root"
}

# Says what is unpacked, and where it is not what the tests were written for.
describe() {
  local name version
  local -n expected=$2
  name=$(dpkg-deb -f "$1" Package)
  version=$(dpkg-deb -f "$1" Version)
  say "unpacking $name $version"
  if [[ $version != "${expected[$name]:-}"* ]]; then
    say "note: the tests were written for $name ${expected[$name]}x"
  fi
}

# Relative links, so that the folder can be moved.
link_binaries() {
  local name
  mkdir "$dir/bin" "$dir/$OLDER_FOLDER/bin"
  for name in "${BINARIES[@]}"; do link_binary "$dir" "$name"; done
  for name in "${OLDER_BINARIES[@]}"; do link_binary "$dir/$OLDER_FOLDER" "$name"; done
}

link_binary() {
  local place
  for place in usr/bin usr/sbin bin sbin usr/libexec/docker/cli-plugins; do
    [[ -x $1/root/$place/$2 ]] || continue
    ln -s "../root/$place/$2" "$1/bin/$2"
    return
  done
}

# A program with its own shared libraries. protoc also looks for google/protobuf/*.proto
# beside its binary (../include), where libprotobuf-dev has put them.
write_wrappers() {
  local name
  for name in "${WRAPPED[@]}"; do
    cat >"$dir/bin/$name" <<WRAPPER
#!/bin/sh
root=\$(dirname "\$(realpath "\$0")")/../root
for lib in "\$root"/usr/lib/*-linux-gnu* "\$root"/lib/*-linux-gnu*; do
  [ -d "\$lib" ] && LD_LIBRARY_PATH=\$lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "\$root/usr/bin/$name" "\$@"
WRAPPER
    chmod 755 "$dir/bin/$name"
  done
}

# A tool of a newer suite may want a newer C library than the system's, which
# only shows when it runs.
check_binaries() {
  local name
  for name in "${BINARIES[@]}" "${WRAPPED[@]}"; do check_binary "$dir/bin" "$name"; done
  for name in "${OLDER_BINARIES[@]}"; do check_binary "$dir/$OLDER_FOLDER/bin" "$name"; done
}

check_binary() {
  runs "$1" "$2" || fail "$2 does not run here: $(<"$work/output")" \
    "use a newer Debian release, or install the library that is missing"
}

runs() {
  local arguments=(--version)
  case $2 in
    notation | oras | cosign | docker-buildx) arguments=(version) ;;
    busybox) arguments=(true) ;;
    containerd-shim-runc-v2) arguments=(-v) ;;
  esac
  # Without a module it only shows its usage, with status 2.
  if [[ $2 == pkcs11-tool ]]; then
    "$1/$2" --help >"$work/output" 2>&1
    (($? == 2))
    return
  fi
  "$1/$2" "${arguments[@]}" >"$work/output" 2>&1
}

main "$@"
