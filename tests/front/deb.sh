#!/bin/sh
# The Debian package is one that lintian accepts.
set -eu
cd "$(dirname "$0")/../.."
command -v lintian >/dev/null || { echo "lintian is not installed"; exit 77; }
tools/dist
tools/deb
lintian --fail-on error,warning --allow-root build/dist/tinamou_"$(tools/version)"_amd64.deb
echo "lintian accepts it"
