#!/bin/sh
# packages.sh ROOT PACKAGE...: makes the packages, with all they need, the only
# source of packages in ROOT: an image can then be built from it offline.
set -eu
root=$1
shift
chroot "$root" apt-get install -qq -y --download-only --no-install-recommends "$@" >/dev/null
mkdir "$root/srv/packages"
cd "$root/srv/packages"
for deb in "$root"/var/cache/apt/archives/*.deb; do
	name=$(dpkg-deb -f "$deb" Package).deb
	mv "$deb" "$name"
	dpkg-deb -f "$name" | sed '/^Filename:/d; /^Size:/d'
	echo "Filename: ./$name"
	echo "Size: $(stat -c %s "$name")"
	echo "SHA256: $(sha256sum "$name" | cut -d ' ' -f 1)"
	echo
done > Packages
rm -rf "$root"/etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/packages ./' > "$root/etc/apt/sources.list"
