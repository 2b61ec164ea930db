#!/bin/sh
# SPDX-License-Identifier: MIT
# tools/loadgen.sh FOLDER: MLCommons LoadGen's C++ sources, as its sdist has them, in
# FOLDER/mlcommons_loadgen-VERSION.  tools/loadgen.txt pins version and hash; pip loads it with the
# settings of who runs this.  Quick when it is there.
set -eu
lock=$(dirname "$0")/loadgen.txt
out=$1
version=$(sed -n 's/^mlcommons-loadgen==\([^ ]*\).*/\1/p' "$lock")
hash=$(sed -n 's/.*--hash=sha256:\([0-9a-f]*\).*/\1/p' "$lock")
name=mlcommons_loadgen-$version
if [ ! -f "$out/$name/.whole-$hash" ]; then
    rm -rf "${out:?}/$name" "$out/sdist"
    mkdir -p "$out/sdist"
    # pip asks the sdist for its metadata, which takes setuptools and pybind11 in a place of their own.
    timeout 300 python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --require-hashes --dest "$out/sdist" --requirement "$lock" --only-binary setuptools,wheel,pybind11
    echo "$hash  $out/sdist/$name.tar.gz" | sha256sum --check --quiet
    tar -xzf "$out/sdist/$name.tar.gz" -C "$out"
    touch "$out/$name/.whole-$hash" # the last thing: what is half there is loaded anew
fi
