#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test of the web app: tests/web/run.sh TEST.mjs [ARGUMENT...].  It needs what tools/web.sh
# and tools/clients.sh make; without that it is skipped (77), or fails with DAMSO_TEST_CLIENTS set.
set -eu
if [ -f web/dist/index.html ] && [ -d web/node_modules ] && [ -f build/clients/stamp ] &&
    command -v node >/dev/null; then
    exec node "$@"
fi
echo "The web app or its test clients are not there: run tools/web.sh and tools/clients.sh"
[ -n "${DAMSO_TEST_CLIENTS:-}" ] && exit 1
exit 77
