#!/bin/sh
# SPDX-License-Identifier: MIT
# Open MPI for tests/ranks_test.py: tests/mpi.sh install installs Debian's package where there is none.
# DAMSO_TEST_MPI=off leaves the tests out that need it.
set -eu
if [ "${DAMSO_TEST_MPI:-}" = off ] || command -v mpirun >/dev/null; then
    exit 0
fi
exec "$(dirname "$0")/../tools/setup.sh" openmpi-bin
