#!/bin/sh
# Derive one signing vector by hand: sh derive.sh CASE
#
# Written from "Create a session: signing process" in the IAM Roles Anywhere user guide, with
# openssl, sha256sum and sed alone, so that it can disagree with the sidecar's signer. Reads
# CASE/request; writes the certificate, the chain, and what each step of signing must give. The
# private keys are thrown away: a second run makes another vector.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/$1"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

get() { sed -n "s/^$1=//p" request; }
hash() { sha256sum | cut -d ' ' -f 1; }
der() { openssl x509 -in "$1" -outform DER | base64 -w 0; }
encode() { sed 's|:|%3A|g; s|/|%2F|g; s|+|%2B|g; s|=|%3D|g; s|,|%2C|g; s|@|%40|g'; }
newkey() { # algorithm, file
    case $1 in
        rsa*) openssl genrsa -out "$2" "${1#rsa}" ;;
        *) openssl ecparam -name "$1" -genkey -noout -out "$2" ;;
    esac 2>/dev/null
}
authority() { # file stem, subject, issuer's stem or nothing
    newkey "$(get ca_key)" "$scratch/$1.key"
    set -- "$@" ""
    issuer=${3:+"-CA $scratch/$3.pem -CAkey $scratch/$3.key"}
    # shellcheck disable=SC2086
    openssl req -x509 -new -key "$scratch/$1.key" -subj "/CN=$2" -days 3650 "-$(get ca_hash)" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" \
        -out "$scratch/$1.pem" ${issuer}
}

# 0. The identity: a leaf below a root, or below two intermediates.
authority root "Vector Root"
issuer=root
if [ "$(get chain)" = yes ]; then
    authority upper "Vector Upper" root
    authority lower "Vector Lower" upper
    cat "$scratch/lower.pem" "$scratch/upper.pem" > chain.pem
    issuer=lower
fi
newkey "$(get key)" "$scratch/leaf.key"
openssl req -x509 -new -key "$scratch/leaf.key" -subj "/CN=vector" -days 3650 "-$(get ca_hash)" \
    -CA "$scratch/$issuer.pem" -CAkey "$scratch/$issuer.key" -set_serial "0x$(get serial_hex)" \
    -addext "basicConstraints=critical,CA:FALSE" -addext "keyUsage=critical,digitalSignature" \
    -out certificate.pem

# 1. The canonical request.
day=$(get date | cut -c 1-8)
scope="$day/$(get region)/rolesanywhere/aws4_request"
{
    printf 'POST\n/sessions\nprofileArn=%s&roleArn=%s&trustAnchorArn=%s\n' \
        "$(get profile_arn | encode)" "$(get role_arn | encode)" "$(get trust_anchor_arn | encode)"
    printf 'amz-sdk-invocation-id:%s\namz-sdk-request:attempt=1; max=1\n' "$(get invocation_id)"
    printf 'content-type:application/json\nhost:%s\nx-amz-date:%s\n' "$(get host)" "$(get date)"
    printf 'x-amz-x509:%s\n' "$(der certificate.pem)"
    if [ -f chain.pem ]; then
        printf 'x-amz-x509-chain:%s,%s\n' "$(der "$scratch/lower.pem")" "$(der "$scratch/upper.pem")"
    fi
} > "$scratch/head"
names="amz-sdk-invocation-id;amz-sdk-request;content-type;host;x-amz-date;x-amz-x509"
[ ! -f chain.pem ] || names="$names;x-amz-x509-chain"
{
    cat "$scratch/head"
    printf '\n%s\n%s' "$names" "$(get body | tr -d '\n' | hash)"
} > canonical-request

# 2. The string to sign.
case $(get key) in rsa*) algorithm=AWS4-X509-RSA-SHA256 ;; *) algorithm=AWS4-X509-ECDSA-SHA256 ;; esac
printf '%s\n%s\n%s\n%s' "$algorithm" "$(get date)" "$scope" "$(hash < canonical-request)" \
    > string-to-sign

# 3. The signature, and the header that carries it; the serial goes in as decimal.
signature=$(openssl dgst -sha256 -sign "$scratch/leaf.key" string-to-sign | od -An -v -tx1 | tr -d ' \n')
printf '%s Credential=%s/%s, SignedHeaders=%s, Signature=%s' \
    "$algorithm" "$(get serial)" "$scope" "$names" "$signature" > authorization
