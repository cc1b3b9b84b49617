#!/bin/sh
# short.sh PROGRAM ARCHIVE RUNS - a fuzz target over its corpus for a short while; see short.c.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/corpus" "$folder/work"
tar -C "$folder/corpus" -xf "$2"
TMPDIR="$folder/work" "$1" "$folder"/corpus/* "$3"
