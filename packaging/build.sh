#!/bin/sh
# Builds the Debian package from this tree.   packaging/build.sh [DIRECTORY]
#
# Leaves DIRECTORY/vc5-appliance_VERSION_all.deb (by default in build/deb) and prints its name. The tree itself is left
# alone: dpkg-buildpackage works in a copy.
set -eu
umask 022
out=${1:-build/deb}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
# Debian's tools and its Python, and not what a developer has before them.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tree=$stage/tree
mkdir "$tree"
tar -c --exclude=__pycache__ --exclude='*.pyc' --mode=u+w,go+rX,go-w \
    appliance templates etc packaging Makefile README.md ARCHITECTURE.md CHANGELOG.md LICENSE pyproject.toml |
    tar -x -C "$tree"
mv "$tree/packaging/debian" "$tree/debian"

# A Makefile runs this; its flags are none of the package's.
if ! (cd "$tree" && env -u MAKEFLAGS -u MAKELEVEL -u SOURCE_DATE_EPOCH dpkg-buildpackage -b -us -uc) >"$out/build.log" 2>&1; then
    tail -n 30 "$out/build.log" >&2
    echo "packaging/build.sh: dpkg-buildpackage failed; all it said is in $out/build.log" >&2
    exit 1
fi
for deb in "$stage"/*.deb; do
    mv "$deb" "$out/"
    echo "$out/${deb##*/}"
done
