#!/bin/sh
# Makes the time-stamps of this folder with OpenSSL 3: over the file `message`, by authorities below `root.pem`. The keys are
# thrown away.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf 'the bytes of a signature' >message

cat >"$work/config" <<EOF
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[intermediate]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = keyCertSign
[stamper]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = critical,timeStamping
[ca]
default_ca = issuer
[issuer]
database = $work/database
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
[any]
C = optional
O = optional
CN = supplied
[tsa]
default_tsa = authority
[authority]
serial = $work/serial
default_policy = 1.2.3.4
digests = sha1,sha256,sha384,sha512
signer_digest = sha256
ess_cert_id_alg = sha256
[precise]
serial = $work/serial
default_policy = 1.2.3.4
digests = sha256,sha384,sha512
signer_digest = sha384
ess_cert_id_alg = sha384
ess_cert_id_chain = yes
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
clock_precision_digits = 6
[baseline]
serial = $work/serial
default_policy = 0.4.0.2023.1.1
digests = sha256
signer_digest = sha512
ess_cert_id_alg = sha512
[bound-by-sha1]
serial = $work/serial
default_policy = 1.2.3.4
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha1
EOF
: >"$work/database"
echo 01 >"$work/serial"

ec() { openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:P-$2" -out "$work/$1.key"; }
rsa() { openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:$2" -out "$work/$1.key"; }

issue() { # name, issuer, section of extensions, first day, last day
    openssl req -new -key "$work/$1.key" -subj "/C=US/O=Acme/CN=$1" -config "$work/config" |
        openssl ca -batch -notext -config "$work/config" -extensions "$3" -in /dev/stdin -out "$work/$1.pem" \
            -cert "$work/$2.pem" -keyfile "$work/$2.key" -startdate "$4" -enddate "$5"
}

stamp() { # file, certificates, section of the authority, hash, further options of `openssl ts -query`
    file=$1 signer=$2 section=$3 hash=$4
    shift 4
    openssl ts -query -data message "-$hash" -cert "$@" -out "$work/query"
    openssl ts -reply -config "$work/config" -section "$section" -queryfile "$work/query" -signer "$work/$signer.pem" \
        -inkey "$work/$signer.key" -chain "$work/intermediate.pem" -token_out -out "$file.der"
}

ec root 256
openssl req -new -x509 -key "$work/root.key" -sha256 -days 36500 -subj "/C=US/O=Acme/CN=root" -config "$work/config" \
    -extensions root -out "$work/root.pem"
cp "$work/root.pem" root.pem
always="20260101000000Z 21000101000000Z"
ec intermediate 256 && issue intermediate root intermediate $always
rsa rsa2048 2048 && issue rsa2048 intermediate stamper $always
ec p256 256 && issue p256 intermediate stamper $always
ec p384 384 && issue p384 intermediate stamper $always
ec p521 521 && issue p521 intermediate stamper $always
rsa rsa1024 1024 && issue rsa1024 intermediate stamper $always
ec expired 256 && issue expired intermediate stamper 20250101000000Z 20260101000000Z

stamp rsa2048-sha256 rsa2048 authority sha256
stamp p256-sha256 p256 authority sha256 -no_nonce
stamp p384-sha384 p384 precise sha384
stamp p521-sha256 p521 baseline sha256
stamp sha1-imprint p256 authority sha1
stamp sha1-binding p256 bound-by-sha1 sha256
stamp rsa1024 rsa1024 authority sha256
stamp expired expired authority sha256
