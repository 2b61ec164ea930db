#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test with the real clients of tools/clients.sh: tests/clients/run.sh TEST [ARGUMENT...].
# Where they were not made, Python tests run without them and say what they skip, and a Node test
# is skipped as a whole (77); with DAMSO_TEST_CLIENTS set, as in `make test`, that is a failure.
set -eu
if [ -f build/clients/stamp ]; then
    case $1 in
    *.mjs) exec node "$@" ;;
    *) exec build/clients/venv/bin/python "$@" ;;
    esac
fi
if [ -n "${DAMSO_TEST_CLIENTS:-}" ]; then
    echo "build/clients is not there: run tools/clients.sh"
    exit 1
fi
case $1 in
*.mjs) exit 77 ;;
*) exec python3 "$@" ;;
esac
