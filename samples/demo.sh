#!/bin/sh
# What `make demo` shows: a package from the first key to the first attack, then the same for a voucher.
set -eu

sample=$(dirname "$0")/gateway
out=.demo
rm -rf "$out"
mkdir -p "$out"

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') plain=$(printf '\033[0m')
else
    bold='' plain=''
fi

title() { printf '\n%s== %s%s\n' "$bold" "$1" "$plain"; }
run() {
    printf '%s$ %s%s\n' "$bold" "$*" "$plain"
    "$@"
}

title "Create test keys: a root that gateways trust, and a signer (never use them for anything real)"
run spkg keygen "$out/keys"

title "Build a package from samples/gateway and sign it"
run spkg build "$sample/manifest.toml" -o "$out/gateway.spkg" \
    --key "$out/keys/signer.key" --cert "$out/keys/signer.pem"

title "Add a second signature: SHA-256, in addition to the SHA-1 that TR-069 demands"
run spkg sign "$out/gateway.spkg" --digest sha256 \
    --key "$out/keys/signer.key" --cert "$out/keys/signer.pem"

title "Look inside; nothing is verified yet"
run spkg inspect "$out/gateway.spkg"

title "Verify the signatures and the digest of every file"
run spkg verify "$out/gateway.spkg" --trust "$out/keys/ca.pem"

if command -v openssl >/dev/null 2>&1; then
    title "A second opinion: openssl checks the same bytes"
    spkg inspect --json "$out/gateway.spkg" >"$out/inspect.json"
    number() { sed -n "/\"$1\": {/,/}/s/^ *\"$2\": \([0-9]*\),*\$/\1/p" "$out/inspect.json" | head -n 1; }
    start=$(number signature_block offset)
    length=$(number signature_block length)
    head -c "$start" "$out/gateway.spkg" >"$out/signed.bin"
    tail -c "+$((start + 1))" "$out/gateway.spkg" | head -c "$length" >"$out/block.p7s"
    run openssl cms -verify -binary -inform DER -in "$out/block.p7s" -content "$out/signed.bin" \
        -CAfile "$out/keys/ca.pem" -purpose any -out /dev/null
else
    title "No second opinion: the openssl command is missing"
fi

title "Extract it, with a manifest that rebuilds it"
run spkg extract "$out/gateway.spkg" "$out/extracted" --manifest --trust "$out/keys/ca.pem"
run spkg build "$out/extracted/manifest.toml" -o "$out/again.spkg" \
    --key "$out/keys/signer.key" --cert "$out/keys/signer.pem"
run spkg sign "$out/again.spkg" --digest sha256 \
    --key "$out/keys/signer.key" --cert "$out/keys/signer.pem"
run spkg diff "$out/gateway.spkg" "$out/again.spkg"
echo "# no difference: the same bytes"

title "See what the next release changes"
run spkg build "$sample/manifest.toml" -o "$out/next.spkg" --unsigned \
    --set package.version=6.3.9.42 --set package.maximum-version=6.3.9.41
status=0
run spkg diff "$out/gateway.spkg" "$out/next.spkg" || status=$?
echo "# exit status $status: they differ"

title "Install it on a gateway with the previous release: first a dry run, then all of it at once"
mkdir -p "$out/root/etc/init.d" "$out/root/www" "$out/root/data"
echo "release 5.3" >"$out/root/etc/gateway-release"
echo "#!/bin/sh" >"$out/root/etc/init.d/telnetd"
echo "an old page" >"$out/root/www/index.html"
set -- --root "$out/root" --device "$sample/device.toml" --trust "$out/keys/ca.pem"
run spkg apply "$out/gateway.spkg" "$@" --dry-run
run spkg apply "$out/gateway.spkg" "$@"
run spkg status --root "$out/root"

title "Install it again, on trial: nobody confirms it, so after a second the gateway goes back"
run spkg apply "$out/gateway.spkg" "$@" --again --back-up 1s
run spkg guard --root "$out/root" --reboot echo "the gateway would reboot now"
run spkg log --root "$out/root"

title "Change one byte of the payload: refused"
size=$(wc -c <"$out/gateway.spkg")
head -c "$((size - 1))" "$out/gateway.spkg" >"$out/tampered.spkg"
printf '#' >>"$out/tampered.spkg"
status=0
run spkg verify "$out/tampered.spkg" --trust "$out/keys/ca.pem" || status=$?
[ "$status" -eq 4 ] || { echo "a tampered package was not refused: status $status" >&2; exit 1; }
echo "# exit status $status: not trusted"
status=0
run spkg apply "$out/tampered.spkg" "$@" || status=$?
[ "$status" -eq 4 ] || { echo "a tampered package was installed: status $status" >&2; exit 1; }
echo "# exit status $status: nothing was changed"

title "Issue a voucher on the operator's server, with unique serial numbers"
set -- --key "$out/keys/signer.key" --cert "$out/keys/signer.pem"
run spkg voucher ledger init "$out/ledger.db"
run spkg voucher issue --device "$sample/device.toml" --options "$sample/options.toml" "$@" \
    --ledger "$out/ledger.db" --batch first-sale -o "$out/voucher.xml"
run spkg voucher ledger list --ledger "$out/ledger.db"

if command -v xmlsec1 >/dev/null 2>&1; then
    title "A second opinion: xmlsec1 checks the same bytes"
    run xmlsec1 --verify --trusted-pem "$out/keys/ca.pem" \
        --id-attr:Id http://www.w3.org/2000/09/xmldsig#:Object "$out/voucher.xml"
fi

title "Apply it on the gateway; applying it again changes nothing"
set -- --trust "$out/keys/ca.pem" --device "$sample/device.toml" --store "$out/options.db"
run spkg voucher apply "$out/voucher.xml" "$@"
run spkg voucher apply "$out/voucher.xml" "$@"
run spkg voucher options --store "$out/options.db"
run spkg voucher options --store "$out/options.db" --at 2099-01-01

title "Forge a longer subscription than was paid for: refused"
sed 's/<Duration>12</<Duration>99</' "$out/voucher.xml" >"$out/forged.xml"
status=0
run spkg voucher apply "$out/forged.xml" "$@" || status=$?
[ "$status" -eq 4 ] || { echo "a forged voucher was not refused: status $status" >&2; exit 1; }
echo "# exit status $status: not trusted"

printf '\nEverything is in %s.  Next: make test, or spkg --help (in .venv/bin).\n' "$out"
