#!/usr/bin/env bash
# Everything that has to pass before a change goes in: lint, types, tests.
# Makes a virtual environment in .venv (or reuses the one there) and installs the project into it for editing.
# PYTHON names the interpreter for a new environment, VENV another place for it, CONSTRAINTS a file with versions for pip.
# Arguments go to pytest, which uses all cores, eight at most; `-n 0` runs the tests in one process.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-python3}"
venv="${VENV:-.venv}"

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "dualcoop needs Python 3.10 or newer; $python is $("$python" --version 2>&1). Set PYTHON to another one." >&2
    exit 1
fi
if [[ ! -x "$venv/bin/python" ]] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    # Debian's python3 comes without ensurepip; there the pip beside it fills the environment.
    "$python" -m venv "$venv" 2>/dev/null || {
        "$python" -m venv --clear --without-pip "$venv"
        packages="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
        "$python" -m pip install --quiet --target "$packages" pip
    }
fi

"$venv/bin/python" -m pip install --quiet ${CONSTRAINTS:+--constraint "$CONSTRAINTS"} --editable '.[test]'
# Types are those of the newest versions.
if [[ -z "${CONSTRAINTS:-}" ]]; then
    "$venv/bin/ruff" check .
    "$venv/bin/mypy"
fi
# One thread each: a process for every core leaves none over, and threads that wait for each other take a core to wait.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# A process takes over half of what another has left, so that neighbours stay together and share what they prepare.
"$venv/bin/python" -m pytest -q -n auto --maxprocesses 8 --dist worksteal "$@"
