#!/bin/sh
# All C sources are as clang-format makes them.
cd "$(dirname "$0")/../.." || exit 1
command -v clang-format >/dev/null || { echo "clang-format is not installed"; exit 77; }
tools/sources | xargs clang-format --dry-run -Werror 2>&1
