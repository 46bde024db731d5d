#!/bin/sh
# Packs what `make docs sbom` has left in BIN as a Debian package, by Debian's
# own dpkg-deb, and prints its name: deb.sh BIN VERSION GOARCH. VERSION is git's
# (git describe --tags --always --long). The same input gives the same bytes;
# SOURCE_DATE_EPOCH is the time of all files. COMPRESS=none is for tests.
set -eu
bin=$1 git=$2
case $3 in
386) arch=i386 ;;
arm) arch=armhf ;;
ppc64le) arch=ppc64el ;;
*) arch=$3 ;;
esac
: "${SOURCE_DATE_EPOCH:?}"
# v1.2.3-0-gHASH is 1.2.3, commits after it 1.2.3+N.gHASH; before the first tag
# versions go by the commit's time.
case $git in
v[0-9]*) version=$(echo "${git#v}" | sed -E 's/-0-g[0-9a-f]+//; s/-([0-9]+)-(g[0-9a-f]+)/+\1.\2/; s/-/./g') ;;
*) version=0~$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$(echo "$git" | tr - .) ;;
esac
out=$bin/catchment_${version}_$arch.deb
here=$(cd "$(dirname "$0")" && pwd)
configs=$(dirname "$here")
umask 022
root=$(mktemp -d "${TMPDIR:-/tmp}/catchment-deb.XXXXXX")
trap 'rm -rf "$root"' EXIT
put() { # mode, file, place
	install -D -m "$1" "$2" "$root/$3"
}

put 755 "$bin/catchmentd" usr/bin/catchmentd
put 755 "$bin/catchment" usr/bin/catchment
put 644 "$configs/catchmentd.service" usr/lib/systemd/system/catchmentd.service
put 640 "$here/catchment.yaml" etc/catchment/catchment.yaml
put 644 "$here/catchmentd.default" etc/default/catchmentd
doc=usr/share/doc/catchment
for f in minimal.yaml reference.yaml catchment.toml cache.yaml sites.yaml alerts.yml grafana.json; do
	put 644 "$configs/$f" $doc/examples/$f
done
for f in "$configs"/routers/*.conf "$configs"/routers/*.cfg; do
	put 644 "$f" "$doc/examples/routers/${f##*/}"
done
for f in "$bin"/*.cdx.json; do
	put 644 "$f" "$doc/${f##*/}"
done
for f in "$bin"/*.licences; do
	put 644 "$f" "$doc/${f##*/}"
	gzip -9n "$root/$doc/${f##*/}"
done
put 644 "$here/copyright" $doc/copyright
{
	printf 'catchment (%s) unstable; urgency=medium\n\n  * Built from %s.\n\n' "$version" "$git"
	printf ' -- %s  %s\n' "$(sed -n 's/^Maintainer: //p' "$here/control")" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$root/$doc/changelog.gz"
put 644 "$here/lintian-overrides" usr/share/lintian/overrides/catchment
for f in "$bin"/docs/man/*; do
	page=usr/share/man/man${f##*.}/${f##*/}
	put 644 "$f" "$page"
	gzip -9n "$root/$page"
done
put 644 "$bin/docs/completions/catchment.bash" usr/share/bash-completion/completions/catchment
put 644 "$bin/docs/completions/catchment.zsh" usr/share/zsh/vendor-completions/_catchment
put 644 "$bin/docs/completions/catchment.fish" usr/share/fish/vendor_completions.d/catchment.fish

mkdir "$root/DEBIAN"
for f in postinst prerm postrm; do
	put 755 "$here/$f" DEBIAN/$f
done
(cd "$root" && find etc -type f | sort | sed 's|^|/|') >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f | sort | xargs md5sum) >"$root/DEBIAN/md5sums"
size=$(cd "$root" && find usr etc -type f -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" "$here/control" >"$root/DEBIAN/control"
chmod 755 "$root"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group "-Z${COMPRESS:-xz}" --threads-max=1 --build "$root" "$out" >/dev/null
echo "$out"
