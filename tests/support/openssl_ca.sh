# The frame of the scripts that make an issuer with OpenSSL 3 and have it speak: sourced by them in the folder of their files.
# Works in a directory that goes with the script, whose file `config` knows the authority `own`. `here` is where it began.
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >config <<'CONFIG'
[ca]
default_ca = own
[own]
database = index
crlnumber = number
default_md = sha256
CONFIG

# A key on P-256, NAME.key.
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }
