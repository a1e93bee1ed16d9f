#!/bin/sh
# Makes an issuer whose key stays here, a certificate below it, and what it signs about that one with OpenSSL 3: the seeds of
# `ocsp_response` and `crl`. A changed document keeps a good signature only if whoever changes it can sign.
set -eu
cd "$(dirname "$0")"
. ../../tests/support/openssl_ca.sh

cat >>config <<'CONFIG'
[base]
freshestCRL = URI:http://crl.pratique.example/delta.crl
[delta]
2.5.29.27 = critical, DER:020101
[point]
issuingDistributionPoint = critical, @users
[users]
onlyuser = TRUE
CONFIG

key issuer
key leaf
openssl req -new -x509 -config /dev/null -key issuer.key -days 36500 -subj /O=Acme/CN=issuer -out issuer.pem -set_serial 1 \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
openssl req -new -config /dev/null -key leaf.key -subj /O=Acme/CN=leaf -out request
printf 'keyUsage=critical,digitalSignature\n' >extensions
openssl x509 -req -in request -CA issuer.pem -CAkey issuer.key -set_serial 4096 -days 36500 -extfile extensions -out leaf.pem 2>/dev/null
cp issuer.pem issuer.key leaf.pem "$here"

# The element of a DER file at this offset, as a file of its own.
signed() { openssl asn1parse -inform DER -in "$1" -strparse "$2" -noout -out "$3"; }

good='V	991231000000Z		1000	unknown	/O=Acme/CN=leaf'
revoked='R	991231000000Z	260201000000Z,keyCompromise	1000	unknown	/O=Acme/CN=leaf'
hold='R	991231000000Z	260201000000Z,certificateHold	1000	unknown	/O=Acme/CN=leaf'
released='R	991231000000Z	260301000000Z,removeFromCRL	1000	unknown	/O=Acme/CN=leaf'
openssl ocsp -issuer issuer.pem -cert leaf.pem -no_nonce -reqout question >/dev/null 2>&1
for name in good revoked unknown; do
    case $name in good) echo "$good" ;; revoked) echo "$revoked" ;; *) : ;; esac >index
    openssl ocsp -index index -CA issuer.pem -rsigner issuer.pem -rkey issuer.key -reqin question -ndays 36500 \
        -respout response >/dev/null 2>&1
    # The basic response is an octet string; what it holds is signed by its first element.
    offset=$(openssl asn1parse -inform DER -in response | awk -F: '/OCTET STRING/ { print $1; exit }' | tr -d ' ')
    openssl asn1parse -inform DER -in response -strparse "$offset" -noout -out basic
    second=$(openssl asn1parse -inform DER -in basic | awk -F: 'NR == 2 { print $1 }' | tr -d ' ')
    signed basic "$second" "$here/../seeds/ocsp_response/signed-$name"
done
list() {
    if [ -n "$2" ]; then echo "$2" >index; else : >index; fi
    echo "${4:-01}" >number
    openssl ca -gencrl -config config -cert issuer.pem -keyfile issuer.key -crl_lastupdate 20260101000000Z \
        -crl_nextupdate 21251231000000Z ${3:+-crlexts "$3"} -out list.pem 2>/dev/null
    openssl crl -in list.pem -outform DER -out list
    second=$(openssl asn1parse -inform DER -in list | awk -F: 'NR == 2 { print $1 }' | tr -d ' ')
    signed list "$second" "$here/../seeds/crl/signed-$1"
}
list good ''
list revoked "$revoked"
list hold "$hold" base
list delta "$released" delta 02
list users "$revoked" point
