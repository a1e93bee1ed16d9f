#!/bin/sh
# Makes the certificates, OCSP responses and revocation lists of this folder with OpenSSL 3: a good one of each kind, and
# others that differ from it in one thing. The keys are thrown away but for the leaf's, which signs images in tests.
#
# Responses are good from the day they are made on, lists from 2026 to 2125 unless their name says otherwise. The expired
# response expires a minute after it was made.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem ./*.der ./*.key
. ../support/openssl_ca.sh

cat >>config <<'CONFIG'
[point_own]
fullname = URI:http://crl.pratique.example/ca.crl
[point_other]
fullname = URI:http://crl.pratique.example/other.crl
[point_indirect]
indirectCRL = TRUE
[point_users]
onlyuser = TRUE
[point_authorities]
onlyCA = TRUE
[point_reasons]
onlysomereasons = keyCompromise
[none]
authorityKeyIdentifier = keyid
[own_point]
issuingDistributionPoint = critical, @point_own
[other_point]
issuingDistributionPoint = critical, @point_other
[indirect]
issuingDistributionPoint = critical, @point_indirect
[users]
issuingDistributionPoint = critical, @point_users
[authorities]
issuingDistributionPoint = critical, @point_authorities
[reasons]
issuingDistributionPoint = critical, @point_reasons
[unknown]
1.3.6.1.4.1.99999.1 = critical, DER:0500
[base]
freshestCRL = URI:http://crl.pratique.example/delta.crl
[delta]
2.5.29.27 = critical, DER:020105
[delta_users]
2.5.29.27 = critical, DER:020105
issuingDistributionPoint = critical, @point_users
[delta_later]
2.5.29.27 = critical, DER:020106
CONFIG
export OPENSSL_CONF=config

# A certificate authority: name of the file, subject, usages.
authority() {
    [ -f "$1.key" ] || key "$1"
    openssl req -new -x509 -config /dev/null -key "$1.key" -days 36500 -subj "$2" -out "$1.pem" -set_serial 1 \
        -addext basicConstraints=critical,CA:TRUE -addext "keyUsage=critical,$3"
}
# A certificate: name of the file, issuer, serial number, extensions, further options.
issue() {
    name=$1 issuer=$2 serial=$3
    printf '%b' "$4" >extensions
    shift 4
    [ -f "$name.key" ] || key "$name"
    openssl req -new -config /dev/null -key "$name.key" -subj "/C=US/ST=WA/O=Acme/CN=$name" -out request
    openssl x509 -req -in request -CA "$issuer.pem" -CAkey "$issuer.key" -set_serial "$serial" -days 36500 \
        -extfile extensions -out "$name.pem" "$@" 2>/dev/null
}

name=/C=US/ST=WA/O=Acme/CN=issuer
echo "unique_subject = no" >index.attr
authority issuer $name keyCertSign,cRLSign
authority impostor $name keyCertSign,cRLSign
authority stranger /C=US/ST=WA/O=Acme/CN=stranger keyCertSign,cRLSign
cp issuer.key issuer-without-crl-sign.key
authority issuer-without-crl-sign $name keyCertSign

leaf='keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n'
ocsp='authorityInfoAccess=OCSP;URI:http://ocsp.pratique.example/\n'
crl='crlDistributionPoints=URI:http://crl.pratique.example/ca.crl\n'
issue leaf issuer 0x1001 "$leaf$ocsp$crl"
issue leaf-ocsp issuer 0x1001 "$leaf$ocsp"
issue leaf-crl issuer 0x1001 "$leaf$crl"
issue leaf-two-crls issuer 0x1001 "${leaf}crlDistributionPoints=URI:http://crl.pratique.example/first.crl,URI:http://crl.pratique.example/ca.crl\n"
issue leaf-https issuer 0x1001 "${leaf}crlDistributionPoints=URI:https://crl.pratique.example/ca.crl\n"
issue leaf-plain issuer 0x1001 "$leaf"
issue leaf-freshest issuer 0x1001 "$leaf${crl}freshestCRL=URI:http://crl.pratique.example/delta.crl\n"
issue other issuer 0x1002 "$leaf$ocsp$crl"

responder='keyUsage=critical,digitalSignature\n'
purpose='extendedKeyUsage=OCSPSigning\n'
issue responder issuer 0x2001 "$responder${purpose}noCheck=ignored\n"
issue responder-revocable issuer 0x2002 "$responder$purpose$crl"
issue responder-without-purpose issuer 0x2003 "${responder}noCheck=ignored\n"
issue responder-without-signing issuer 0x2004 "keyUsage=critical,keyEncipherment\n${purpose}noCheck=ignored\n"
issue responder-of-stranger stranger 0x2005 "$responder${purpose}noCheck=ignored\n"
issue responder-expired issuer 0x2006 "$responder${purpose}noCheck=ignored\n" -days 0

# What the index says of a certificate: status, reason with its value, serial number, and since which day of 2026.
entry() {
    case $1 in
        V) printf 'V\t991231235959Z\t\t%s\tunknown\t/CN=x\n' "$2" ;;
        *) printf 'R\t991231235959Z\t26%s000000Z,%s\t%s\tunknown\t/CN=x\n' "${3:-0201}" "$1" "$2" ;;
    esac
}

# An OCSP response: name, signer, status of the leaf, options of the request, options of the response.
respond() {
    out=ocsp-$1 signer=$2 status=$3 request=$4
    shift 4
    : >index
    [ "$status" = unknown ] || entry "$status" 1001 >index
    entry V 1002 >>index
    # shellcheck disable=SC2086
    openssl ocsp -issuer issuer.pem $request -reqout question >/dev/null
    openssl ocsp -index index -CA issuer.pem -rsigner "$signer.pem" -rkey "$signer.key" -reqin question -respout "$out.der" "$@" >/dev/null
}
own='-no_nonce -cert leaf.pem'
respond good issuer V "$own" -ndays 36000
respond good-by-key issuer V "$own" -ndays 36000 -resp_key_id
respond good-by-sha256 issuer V '-no_nonce -sha256 -cert leaf.pem' -ndays 36000
respond good-with-nonce issuer V '-nonce -cert leaf.pem' -ndays 36000
respond without-next-update issuer V "$own"
respond expired issuer V "$own" -nmin 1
respond revoked issuer keyCompromise "$own" -ndays 36000
respond on-hold issuer certificateHold "$own" -ndays 36000
respond unknown issuer unknown "$own" -ndays 36000
respond other issuer V '-no_nonce -cert other.pem' -ndays 36000
respond impostor impostor V "$own" -ndays 36000
respond impostor-without-certificate impostor V "$own" -ndays 36000 -resp_no_certs
respond delegated responder V "$own" -ndays 36000
respond delegated-without-certificate responder V "$own" -ndays 36000 -resp_no_certs
respond delegated-revocable responder-revocable V "$own" -ndays 36000
respond delegated-without-purpose responder-without-purpose V "$own" -ndays 36000
respond delegated-without-signing responder-without-signing V "$own" -ndays 36000
respond delegated-by-stranger responder-of-stranger V "$own" -ndays 36000
respond delegated-expired responder-expired V "$own" -ndays 36000
printf '\060\003\012\001\003' >ocsp-try-later.der
openssl ocsp -issuer issuer.pem $own -reqout request.der >/dev/null

# A revocation list: name, issuer, extensions, number, options; the index is standard input.
list() {
    out=crl-$1 issuer=$2 extensions=$3
    cat >index
    echo "$4" >number
    shift 4
    openssl ca -gencrl -config config -cert "$issuer.pem" -keyfile "$issuer.key" -crlexts "$extensions" "$@" -out list 2>/dev/null
    openssl crl -in list -outform der -out "$out.der"
}
always='-crl_lastupdate 20260101000000Z -crl_nextupdate 21251231000000Z'
good() { n=$1; shift; entry keyCompromise 1002 | list "$n" "$@" $always; }
good good issuer none 05
entry keyCompromise 1001 | list revoked issuer none 05 $always
entry certificateHold 1001 | list on-hold issuer none 05 $always
entry removeFromCRL 1001 | list released-without-delta issuer none 05 $always
entry keyTime,20260115000000Z 1001 | list invalid-from issuer none 05 $always
entry keyCompromise 2002 | list responder-revoked issuer none 05 $always
entry V 1002 | list empty issuer none 05 $always
entry V 1002 | list expired issuer none 05 -crl_lastupdate 20260101000000Z -crl_nextupdate 20260201000000Z
entry V 1002 | list future issuer none 05 -crl_lastupdate 21250101000000Z -crl_nextupdate 21251231000000Z
good stranger stranger none 05
good impostor impostor none 05
for scope in own_point other_point indirect users authorities reasons unknown; do
    good "$(echo $scope | tr _ -)" issuer $scope 05
done
entry certificateHold 1001 | list base-on-hold issuer base 05 $always
good base issuer base 05
entry keyCompromise 1001 | list delta-revoked issuer delta 06 $always
entry removeFromCRL 1001 0301 | list delta-released issuer delta 06 $always
entry removeFromCRL 1001 | list delta-released-at-once issuer delta 06 $always
good delta issuer delta 06
good delta-same-number issuer delta 05
good delta-users issuer delta_users 06
good delta-later issuer delta_later 07
good delta-stranger stranger delta 06

cat leaf.pem issuer.pem >chain.pem
for certificate in issuer issuer-without-crl-sign leaf leaf-ocsp leaf-crl leaf-two-crls leaf-https leaf-plain leaf-freshest chain; do
    cp "$certificate.pem" "$here"
done
cp leaf.key "$here"
cp request.der ./ocsp-*.der ./crl-*.der "$here"
