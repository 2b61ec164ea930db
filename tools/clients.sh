#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes build/clients, the real API clients that tests speak with: venv/ (Python) and node_modules/
# of tests/clients' lock files, among them what drives a browser; and sees that there is one.  Quick when they have not changed since.  pip and npm are used with
# the settings of who runs this.
set -eu
cd "$(dirname "$0")/.."
out=build/clients
if ! { command -v node && command -v npm; } >/dev/null; then
    tools/setup.sh nodejs npm
fi
command -v chromium >/dev/null || tools/setup.sh chromium fonts-noto-cjk
stamp=$(cat tests/clients/requirements.txt tests/clients/package-lock.json | sha256sum
    python3 --version
    node --version)
[ "$(cat $out/stamp 2>/dev/null)" != "$stamp" ] || exit 0

echo "Installing the API clients for the tests"
rm -rf $out
mkdir -p $out
python3 -m venv $out/venv
$out/venv/bin/pip install --quiet --requirement tests/clients/requirements.txt
cp tests/clients/package.json tests/clients/package-lock.json tests/clients/.npmrc $out/
(cd $out && npm ci --no-audit --no-fund --loglevel error)
echo "$stamp" >$out/stamp # the last thing: what is half made is made anew
