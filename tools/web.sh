#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the web app: web/ becomes web/dist.  Quick when nothing changed since.  Without Node 18 or
# later, or with DAMSO_WEB=off, the server keeps its plain page.  npm is used with the settings of
# who runs this.
set -eu
cd "$(dirname "$0")/../web"
[ "${DAMSO_WEB:-on}" != off ] || exit 0
if ! { command -v node && command -v npm; } >/dev/null ||
    ! node -e 'process.exit(+(parseInt(process.versions.node) < 18))'; then
    echo "No web app: it takes Node 18 or later, with npm, to build it"
    exit 0
fi
installed=$(sha256sum package-lock.json && node --version)
# shellcheck disable=SC2046 # names without blanks
built=$(echo "$installed" && sha256sum index.html package.json tsconfig.json vite.config.ts \
    $(find src public -type f ! -name '*.test.ts' | LC_ALL=C sort) | sha256sum)
[ "$(cat .built 2>/dev/null)" != "$built" ] || [ ! -f dist/index.html ] || exit 0

echo "== building the web app"
if [ "$(cat node_modules/.installed 2>/dev/null)" != "$installed" ]; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel error || {
        echo "npm could not install the web app's libraries; DAMSO_WEB=off builds without them" >&2
        exit 1
    }
    echo "$installed" >node_modules/.installed
fi
node node_modules/typescript/bin/tsc --noEmit
node node_modules/vite/bin/vite.js build --logLevel warn
echo "$built" >.built # the last thing: what is half made is made anew
