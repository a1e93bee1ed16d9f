#!/bin/sh
# A Notary plugin for the tests: contract 1.0, verification, and signing with openssl and an RSA key.
#
# Files beside it: `behaviour` says what it does wrong, if anything; `version` and `capabilities` are what it says of itself;
# `key.pem` and `chain.json` are its key and certificates; `demands` is the lowest version of it that its envelopes demand. Each command that it gets is noted in `ran`, with its request in
# `request-COMMAND`, and what it leaves running in `left`.
here=$(dirname "$0")
name=$(basename "$0")
name=${name#notation-}
command=$1
request=$(cat)
printf '%s\n' "$command" >>"$here/ran"
printf '%s' "$request" >"$here/request-$command"
told() { cat "$here/$1" 2>/dev/null || printf '%s' "$2"; }
field() { printf '%s' "$request" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }
url() { tr '+/' '-_' | tr -d '=\n'; }
sign() { openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -sign "$here/key.pem"; }
say() { printf '{"errorCode":"%s","errorMessage":"%s"}' "$1" "$2" >&2; exit 1; }
leave() { sleep 600 & printf '%s\n' "$!" >>"$here/left"; }

behaviour=$(told behaviour)
at=${behaviour%% *}
what=${behaviour#* }
[ "$at" = "$command" ] || what=well
case "$what" in
hang) leave; printf '%s\n' "$$" >>"$here/left"; sleep 600 ;;
linger) leave ;;
crash) kill -SEGV $$ ;;
fail) exit 3 ;;
fail-with-text) echo 'no JSON here' >&2; exit 1 ;;
flood) cat /dev/zero ;;
flood-stderr) cat /dev/zero >&2 ;;
nothing) exit 0 ;;
text) echo hello; exit 0 ;;
list) echo '[]'; exit 0 ;;
deep) printf '%0.s[' $(seq 1 5000); exit 0 ;;
later-*)
    # As a quorum inside of a device: the same request is answered when it was made often enough.
    [ -f "$here/first" ] || printf '%s' "$request" >"$here/first"
    [ "$(cat "$here/first")" = "$request" ] || say VALIDATION_ERROR 'this is another request'
    [ "$(grep -c "^$command\$" "$here/ran")" -gt "${what#later-}" ] || say THROTTLED 'one of two has approved'
    ;;
says-*) say "${what#says-}" 'not today' ;;
esac

case "$command" in
get-plugin-metadata)
    contract=1.0 url=https://example.test/plugin version=$(told version 1.2.0)
    capabilities=$(told capabilities '"SIGNATURE_VERIFIER.TRUSTED_IDENTITY","SIGNATURE_VERIFIER.REVOCATION_CHECK"')
    case "$what" in
    other-name) name=somebody-else ;;
    other-contract) contract=2.0 ;;
    no-url) url= ;;
    no-capabilities) capabilities= ;;
    esac
    printf '{"name":"%s","description":"plugin for tests","version":"%s","url":"%s","supportedContractVersions":["%s"],"capabilities":[%s]}' \
        "$name" "$version" "$url" "$contract" "$capabilities"
    [ "$what" != twice ] || printf '{}'
    ;;
verify-signature)
    identity='{"success":true}' revocation='{"success":true}' processed='"com.acme.extra"' more=
    case "$what" in
    identity-fails) identity='{"success":false,"reason":"not on the list"}' ;;
    revoked) revocation='{"success":false,"reason":"taken back"}' ;;
    without-reason) identity='{"success":false}' ;;
    unprocessed) processed= ;;
    success-as-text) identity='{"success":"true"}' ;;
    result-twice) more=',"processedAttributes":[]' ;;
    no-results)
        printf '{"verificationResults":{},"processedAttributes":["com.acme.extra"]}'
        exit 0
        ;;
    esac
    printf '{"verificationResults":{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY":%s,"SIGNATURE_VERIFIER.REVOCATION_CHECK":%s},"processedAttributes":[%s]%s}' \
        "$identity" "$revocation" "$processed" "$more"
    ;;
describe-key)
    id=$(field keyId) spec=RSA-2048
    case "$what" in
    other-key) id=another ;;
    other-spec) spec=RSA-3072 ;;
    unknown-spec) spec=RSA-1024 ;;
    esac
    printf '{"keyId":"%s","keySpec":"%s"}' "$id" "$spec"
    ;;
generate-signature)
    id=$(field keyId) algorithm=RSASSA-PSS-SHA-256 chain=$(told chain.json)
    signature=$(field payload | base64 -d | sign | base64 -w0)
    case "$what" in
    other-key) id=another ;;
    other-algorithm) algorithm=RSASSA-PSS-SHA-384 ;;
    other-payload) signature=$(printf other | sign | base64 -w0) ;;
    no-signature) signature= ;;
    not-base64) signature='!' ;;
    other-chain) chain=$(told other.json) ;;
    no-chain) chain='[]' ;;
    no-certificate) chain='["AAAA"]' ;;
    esac
    printf '{"keyId":"%s","signature":"%s","signingAlgorithm":"%s","certificateChain":%s}' \
        "$id" "$signature" "$algorithm" "$chain"
    ;;
generate-envelope)
    type=$(field signatureEnvelopeType) annotations=
    payload=$(field payload | base64 -d)
    case "$what" in
    other-type) type=application/cose ;;
    other-size) payload=$(printf '%s' "$payload" | sed 's/"size":/"size":1/') ;;
    other-member) payload=$(printf '%s' "$payload" | sed 's/"size":/"extra":1,"size":/') ;;
    other-annotation) payload=$(printf '%s' "$payload" | sed 's/"build":"7"/"build":"8"/') ;;
    more-annotations)
        payload=$(printf '%s' "$payload" | sed 's/"build":"7"/"build":"7","by":"plugin"/') annotations='"com.acme.by":"plugin"'
        ;;
    reserved-annotation) annotations='"io.cncf.notary.x509chain.thumbprint#S256":"[]"' ;;
    esac
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ) crit='"io.cncf.notary.signingScheme"' expiry=
    seconds=$(field expiryDurationInSeconds)
    if [ -n "$seconds" ] && [ "$what" != no-expiry ]; then
        crit="$crit,\"io.cncf.notary.expiry\""
        expiry="\"io.cncf.notary.expiry\":\"$(date -u -d "+$seconds seconds" +%Y-%m-%dT%H:%M:%SZ)\","
    fi
    minimum=$(told demands)
    if [ -n "$minimum" ]; then
        crit="$crit,\"io.cncf.notary.verificationPlugin\",\"io.cncf.notary.verificationPluginMinVersion\""
        expiry="$expiry\"io.cncf.notary.verificationPlugin\":\"$name\",\"io.cncf.notary.verificationPluginMinVersion\":\"$minimum\","
    fi
    protected=$(printf '{"alg":"PS256","crit":[%s],"cty":"application/vnd.cncf.notary.payload.v1+json",%s"io.cncf.notary.signingScheme":"notary.x509","io.cncf.notary.signingTime":"%s"}' "$crit" "$expiry" "$now" | base64 -w0 | url)
    payload=$(printf '%s' "$payload" | base64 -w0 | url)
    signed="$protected.$payload"
    [ "$what" != other-payload ] || signed=other
    signature=$(printf '%s' "$signed" | sign | base64 -w0 | url)
    chain=$(told chain.json)
    [ "$what" != other-chain ] || chain=$(told other.json)
    envelope=$(printf '{"payload":"%s","protected":"%s","header":{"x5c":%s},"signature":"%s"}' "$payload" "$protected" "$chain" "$signature" | base64 -w0)
    [ "$what" != no-header ] || envelope=$(printf '{}' | base64 -w0)
    printf '{"signatureEnvelope":"%s","signatureEnvelopeType":"%s","annotations":{%s}}' "$envelope" "$type" "$annotations"
    ;;
*) say VALIDATION_ERROR 'unsupported command' ;;
esac
