#!/bin/sh
# Builds the last commit twice and compares: reproducible.sh VERSION. Once as
# everybody does, with what is in the cache, and once from nothing, in another
# folder and later: takes a minute or two.
set -eu
version=$1 cold=""
commit=$(git rev-parse HEAD)
work=$(mktemp -d "${TMPDIR:-/tmp}/catchment-repro.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
for side in one another/folder; do
	mkdir -p "$work/$side"
	git archive "$commit" | tar -x -C "$work/$side"
	make -s -C "$work/$side" build VERSION="$version" GOFLAGS= ${cold:+GOCACHE="$work/cache"} >/dev/null
	cold=yes
done
same=1
for f in catchmentd catchment; do
	cmp "$work/one/bin/$f" "$work/another/folder/bin/$f" || same=0
	sha256sum <"$work/one/bin/$f" | sed "s/-/$f/"
done
if [ $same = 1 ]; then met=met; else met=missed; fi
echo "goal reproducible-build $same 1 $met"
[ $same = 1 ]
