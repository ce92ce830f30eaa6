#!/bin/sh
# Renews the libraries of the portal's page from npm: sh components/portal/vendor/renew.sh
# Then run the browser's test of the portal, and change the versions in README.md.
set -eu
here=$(cd "$(dirname "$0")/../page/vendor" && pwd)
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
cd "$scratch"

# get PACKAGE VERSION LICENSE FILE NAME: one module of a package, under a name of ours.
get() {
    mkdir -p "$1" && cd "$1"
    npm pack --silent "$1@$2" >/dev/null
    tar -xzf ./*.tgz
    grep -q "\"license\": \"$3\"" package/package.json
    # Browsers know no packages: what a module imports is the file beside it. Maps are not served.
    sed -e 's#from"preact"#from"./preact.js"#g' \
        -e 's#from"preact/hooks"#from"./hooks.js"#g' \
        -e 's#from"@preact/signals-core"#from"./signals-core.js"#g' \
        -e '/^\/\/# sourceMappingURL=/d' "package/$4" >"$here/$5.js"
    if grep -qE 'from"[^.]|import"[^.]' "$here/$5.js"; then
        echo "$5.js imports what is not here" >&2
        exit 1
    fi
    cp package/LICENSE "$here/$5-LICENSE"
    cd "$scratch"
    rm -r "${1%%/*}"
}

get preact 11.2.0 MIT dist/preact.mjs preact
get preact 11.2.0 MIT hooks/dist/hooks.mjs hooks
get htm 3.1.1 Apache-2.0 dist/htm.mjs htm
get @preact/signals-core 1.14.5 MIT dist/signals-core.mjs signals-core
get @preact/signals 2.11.4 MIT dist/signals.mjs signals
# Of the same package as preact.js.
rm "$here/hooks-LICENSE"
