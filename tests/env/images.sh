#!/usr/bin/env bash
# Makes one tiny image as an OCI image layout, without a builder.
#
#   images.sh OUTDIR NAME TEXT [LAYERS] [--multi] [--own-base] [--pause]
#
# OUTDIR/NAME becomes the layout of an image tagged v1, which prints TEXT when
# it is run. The same arguments always give the same digests; another NAME or
# TEXT gives another manifest, config and other layers above the base.
#
#   LAYERS      how many layers, 2 unless told: a busybox base, then one small
#               file per layer. With 1, the file is in the base.
#   --multi     an index over two platforms: this machine's and another one
#   --own-base  a base layer that no other image shares
#   --pause     sleep instead of printing TEXT, as the image of a pod's sandbox must
#
# To push it:
#   oras cp --from-oci-layout OUTDIR/NAME:v1 --to-plain-http HOST:PORT/demo/NAME:v1
set -euo pipefail
umask 022

LINKS=(sh ash echo cat ls sleep true false id env touch mkdir)
MANIFEST=application/vnd.oci.image.manifest.v1+json
INDEX=application/vnd.oci.image.index.v1+json
CONFIG=application/vnd.oci.image.config.v1+json
LAYER=application/vnd.oci.image.layer.v1.tar+gzip

main() {
  parse_arguments "$@"
  find_busybox
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  layout=$outdir/$name
  rm -rf "${outdir:?}/${name:?}"
  mkdir -p "$layout/blobs/sha256"
  local platform descriptors=()
  for platform in $(platforms); do
    add_manifest "$platform"
    descriptors+=("$descriptor")
  done
  if [[ $multi ]]; then
    local joined
    joined=$(IFS=, && echo "${descriptors[*]}")
    put_blob "$INDEX" "{\"schemaVersion\":2,\"mediaType\":\"$INDEX\",\"manifests\":[$joined]}"
  fi
  write_layout "$descriptor"
  echo "$name $digest"
}

usage() {
  echo "images: $1" >&2
  echo "usage: images.sh OUTDIR NAME TEXT [LAYERS] [--multi] [--own-base] [--pause]" >&2
  exit 2
}

parse_arguments() {
  local argument positional=()
  multi='' own_base='' pause=''
  for argument in "$@"; do
    case $argument in
      --multi) multi=1 ;;
      --own-base) own_base=1 ;;
      --pause) pause=1 ;;
      --*) usage "unknown option $argument" ;;
      *) positional+=("$argument") ;;
    esac
  done
  ((${#positional[@]} == 3 || ${#positional[@]} == 4)) || usage "three or four arguments are needed"
  outdir=${positional[0]} name=${positional[1]} text=${positional[2]} layers=${positional[3]:-2}
  [[ $name =~ ^[a-z0-9]+([._-][a-z0-9]+)*$ ]] || usage "'$name' cannot be part of an image's name"
  [[ $layers =~ ^[1-9][0-9]{0,2}$ ]] || usage "LAYERS is a number from 1 to 999, not '$layers'"
  [[ ! $text =~ [[:cntrl:]] ]] || usage "TEXT is one line without control characters"
}

find_busybox() {
  local repo
  repo=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
  busybox=${PRATIQUE_TOOLS:-$repo/.tools}/bin/busybox
  [[ -x $busybox ]] || {
    echo "images: $busybox is missing; run tests/env/tools.sh first" >&2
    exit 1
  }
}

machine_architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# This machine's comes last, so that it is the one a single image is made of.
platforms() {
  local own
  own=$(machine_architecture)
  if [[ $multi ]]; then
    if [[ $own == arm64 ]]; then echo amd64; else echo arm64; fi
  fi
  echo "$own"
}

# Sets digest and descriptor for the manifest of one platform.
add_manifest() {
  local platform=$1 number descriptors=() diff_ids=() config
  for ((number = 1; number <= layers; number++)); do
    fill_layer "$number" "$platform"
    put_layer
    descriptors+=("$descriptor")
    diff_ids+=("\"sha256:$diff_id\"")
  done
  config="{\"architecture\":\"$platform\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"],\"Cmd\":$(command_line)},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$(IFS=, && echo "${diff_ids[*]}")]}}"
  put_blob "$CONFIG" "$config"
  put_blob "$MANIFEST" "{\"schemaVersion\":2,\"mediaType\":\"$MANIFEST\",\"config\":$descriptor,\"layers\":[$(IFS=, && echo "${descriptors[*]}")]}"
  descriptor="${descriptor%\}},\"platform\":{\"architecture\":\"$platform\",\"os\":\"linux\"}}"
}

fill_layer() {
  local number=$1 platform=$2 link
  rm -rf "$work/layer"
  mkdir "$work/layer"
  if ((number == 1)); then
    mkdir -p "$work"/layer/{bin,etc,dev,proc,sys,tmp}
    cp "$busybox" "$work/layer/bin/busybox"
    chmod 755 "$work/layer/bin/busybox"
    for link in "${LINKS[@]}"; do ln -s busybox "$work/layer/bin/$link"; done
    [[ $own_base ]] || ((layers == 1)) || return 0
  fi
  mkdir -p "$work/layer/layers"
  printf '%s\n' "$name" "$text" "layer $number of linux/$platform" >"$work/layer/layers/$number"
}

# Sets diff_id, digest and descriptor. Times, owners and order are fixed, or
# the digests would differ from run to run.
put_layer() {
  tar --create --file "$work/tar" --directory "$work/layer" --format=gnu --sort=name \
    --mtime=@0 --owner=0 --group=0 --numeric-owner .
  diff_id=$(sha256 "$work/tar")
  gzip --no-name --stdout "$work/tar" >"$work/blob"
  store "$LAYER"
}

put_blob() {
  printf '%s' "$2" >"$work/blob"
  store "$1"
}

store() {
  local hash size
  hash=$(sha256 "$work/blob")
  size=$(stat --format=%s "$work/blob")
  mv "$work/blob" "$layout/blobs/sha256/$hash"
  digest=sha256:$hash
  descriptor="{\"mediaType\":\"$1\",\"digest\":\"$digest\",\"size\":$size}"
}

sha256() {
  local line
  line=$(sha256sum "$1")
  echo "${line%% *}"
}

write_layout() {
  local tagged="${1%\}},\"annotations\":{\"org.opencontainers.image.ref.name\":\"v1\"}}"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$INDEX" "$tagged" >"$layout/index.json"
}

command_line() {
  if [[ $pause ]]; then
    echo '["/bin/sleep","1000000"]'
  else
    printf '["/bin/echo","%s"]' "$(escaped "$text")"
  fi
}

escaped() {
  local value=${1//\\/\\\\}
  printf '%s' "${value//\"/\\\"}"
}

main "$@"
