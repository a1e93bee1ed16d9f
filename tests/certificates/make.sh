#!/bin/sh
# Makes the self-signed certificates of this folder with OpenSSL 3: one for every signature algorithm that a certificate
# may have, and some that it must not have. The keys are thrown away.
set -eu
cd "$(dirname "$0")"
key=$(mktemp)
trap 'rm -f "$key"' EXIT

make() { # name, hash, further options of `openssl req`
    name=$1 hash=$2
    shift 2
    openssl req -new -x509 -key "$key" "-$hash" -days 36500 -out "$name.pem" -subj "/C=US/ST=WA/O=Acme/CN=$name" \
        -addext keyUsage=critical,digitalSignature -addext basicConstraints=critical,CA:FALSE "$@"
}

for curve in 256 384 521; do
    openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:P-$curve" -out "$key"
    for hash in sha256 sha384 sha512; do make "p$curve-$hash" $hash; done
done
make p521-sha1 sha1

openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$key"
for hash in md5 sha1 sha256 sha384 sha512; do make "rsa2048-$hash" $hash; done
for hash in 256 384 512; do
    make "rsa2048-pss-sha$hash" "sha$hash" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:$((hash / 8))
done
make rsa2048-pss-sha1 sha1 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
make rsa2048-pss-salt20 sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
make rsa2048-pss-mgf-sha1 sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha1

openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out "$key"
for hash in sha256 sha512; do make "rsa1024-$hash" $hash; done
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2560 -out "$key"
make rsa2560-sha256 sha256
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2047 -out "$key"
make rsa2047-sha256 sha256
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out "$key"
make secp256k1-sha256 sha256
openssl genpkey -algorithm ED25519 -out "$key"
make ed25519 sha512
