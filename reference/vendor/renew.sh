#!/bin/sh
# Renews scalar.js.gz from npm: sh reference/vendor/renew.sh VERSION
# Then look at /docs, run the browser's test, and change the version in README.md.
set -eu
version=${1:?"the version of @scalar/api-reference"}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
cd "$scratch"
npm pack --silent "@scalar/api-reference@$version" >/dev/null
tar -xzf ./*.tgz package/dist/browser/standalone.js package/package.json
grep -q '"license": "MIT"' package/package.json

# The tabs of languages are a constant of Scalar's. Ours are the five of the reference.
python3 - package/dist/browser/standalone.js scalar.js <<'PYTHON'
import re
import sys

source = open(sys.argv[1], encoding="utf-8").read()
theirs = "[`shell/curl`,`ruby/native`,`node/undici`,`php/guzzle`,`python/python3`]"
ours = "[`shell/curl`,`python/requests`,`js/fetch`,`go/native`,`ruby/native`]"
assert source.count(theirs) == 1, "the tabs of languages are written otherwise now"
source = source.replace(theirs, ours)
# The code of an operation is ours, where the page has it: see page/reference.js.
for theirs, ours in [
    (
        ",[h,g]=e.split(`/`),[_,v]=AIt(h,g,m);return _?",
        ",[h,g]=e.split(`/`),own=globalThis.ownSample?.(e,t,m);if(own)return own;"
        "let[_,v]=AIt(h,g,m);return _?",
    ),
    ("rG=(e,t,n=eG)=>{if(e.length){", "rG=(e,t,n=eG)=>{if(e.length&&!globalThis.ownSample){"),
]:
    assert source.count(theirs) == 1, f"{theirs} is written otherwise now"
    source = source.replace(theirs, ours)
# The map is not served.
source = re.sub(r"\n//# sourceMappingURL=\S+\s*\Z", "\n", source)
open(sys.argv[2], "w", encoding="utf-8", newline="\n").write(source)
PYTHON

# -n: no name and no time, so that the same version gives the same bytes.
gzip -9 -n -c scalar.js >"$here/scalar.js.gz"
