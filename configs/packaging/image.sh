#!/bin/sh
# Puts into a folder what the Dockerfile makes an image of: image.sh BIN FOLDER.
# The certificates that https checks trust are those of the building machine.
set -eu
bin=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
umask 022
rm -rf "$out"
mkdir -p "$out/root/run/catchment" "$out/root/var/lib/catchment" "$out/root/etc/catchment"
install -D -m 755 "$bin/catchmentd" "$bin/catchment" -t "$out/root/usr/bin"
install -D -m 644 "$bin"/*.licences -t "$out/root/usr/share/doc/catchment"
certs=/etc/ssl/certs/ca-certificates.crt
if [ -e $certs ]; then
	install -D -m 644 $certs "$out/root$certs"
else
	echo "$certs is not here: https checks in the image will need ca-file" >&2
fi
cp "$here/Dockerfile" "$out/"
find "$out" -exec touch -h -d "@${SOURCE_DATE_EPOCH:?}" {} +
