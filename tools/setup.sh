#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages of tools/packages.txt, or those named, that are missing; says nothing
# when none is.  Node and npm, which build the web app, may also be there without their packages.
set -eu
cd "$(dirname "$0")/.."
missing=
[ $# != 0 ] || { command -v node && command -v npm; } >/dev/null || missing=' nodejs npm'
# shellcheck disable=SC2046 # a list of words
[ $# != 0 ] || set -- $(cat tools/packages.txt)
for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "Please install what these Debian packages hold:$missing" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "Root (or sudo) is needed once, to install:$missing" >&2
        exit 1
    }
    sudo=sudo
fi
echo "Installing system packages:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
