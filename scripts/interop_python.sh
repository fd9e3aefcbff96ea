#!/usr/bin/env bash
# Prints the Python that has torch and transformers from PyPI: LOCKSTEP_PYTHON where that is set, else that of
# BUILD/interop, a virtual environment (about 6 GB) that is made when it is not there.
#
#   python=$(scripts/interop_python.sh)
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
if [ -n "${LOCKSTEP_PYTHON:-}" ]; then
    echo "$LOCKSTEP_PYTHON"
    exit 0
fi
mkdir -p "$BUILD"
python=$(cd "$BUILD" && pwd)/interop/bin/python
wanted=$(cksum <tests/interop/requirements.txt)
if [ "$(cat "$BUILD/interop/wanted" 2>/dev/null)" != "$wanted" ]; then
    echo "installing torch and transformers into $BUILD/interop (about 6 GB)" >&2
    rm -rf "$BUILD/interop"
    python3 -m venv "$BUILD/interop" >&2
    "$python" -m pip install --quiet --requirement tests/interop/requirements.txt >&2
    echo "$wanted" >"$BUILD/interop/wanted"
fi
echo "$python"
