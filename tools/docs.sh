#!/bin/sh
# SPDX-License-Identifier: MIT
# The pages that the program writes: tools/docs.sh DAMSO checks docs/ against them, and
# tools/docs.sh DAMSO --write brings docs/ up to date.
set -eu
damso=$1
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
env -i PATH="$PATH" "$damso" conf --markdown >"$tmp/CONF.md"
env -i PATH="$PATH" "$damso" help exit >"$tmp/EXIT.md"
env -i PATH="$PATH" "$damso" help api >"$tmp/ENDPOINTS.md"
for page in CONF EXIT ENDPOINTS; do
    if [ "${2:-}" = --write ]; then
        cp "$tmp/$page.md" "docs/$page.md"
    elif ! diff -u "docs/$page.md" "$tmp/$page.md"; then
        echo "docs/$page.md is behind the program: run \`make docs\`"
        exit 1
    fi
done
python3 tools/models_doc.py "${2:-}"
