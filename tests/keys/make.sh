#!/usr/bin/env bash
# Makes the key files of this folder with OpenSSL 3: one key, unencrypted and encrypted in several ways. They are test keys,
# all under the passphrase `open sesame`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

encrypt() {
  local name=$1
  shift
  openssl pkcs8 -topk8 -in plain.pem -out "$name.pem" -passout "pass:open sesame" "$@"
}

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out plain.pem
encrypt pbkdf2 -v2 aes-256-cbc
encrypt pbkdf2-aes128 -v2 aes-128-cbc -iter 600
encrypt scrypt -scrypt -scrypt_N 1024
# More passes than are accepted.
encrypt scrypt-passes -scrypt -scrypt_N 16 -scrypt_r 1 -scrypt_p 17
# Ways that are not supported.
encrypt 3des -v2 des3
encrypt pbes1 -v1 PBE-SHA1-3DES
