#!/usr/bin/env bash
# Boots a real systemd in a container with the units of systemd/, and goes through what an operator does:
# start, readiness, reload good and bad, watchdog, kill, stop, and the variant with sockets and no network.
#
# Prints `ok NAME`, `FAIL NAME` or `skip NAME WHY`, a line each, and fails if anything did. Where no system
# can be booted everything is skipped, which is not passed.
#
#   BEARERD_BIN              the binary; else target/release/bearerd, else target/debug/bearerd
#   BEARERD_SYSTEMD_ROOT, BEARERD_DEBIAN_MIRROR   see debian.sh
set -u
here=$(cd "$(dirname "$0")" && pwd)
part=systemd
. "$here/../debian.sh"

binary=${BEARERD_BIN:-}
for candidate in "$target/release/bearerd" "$target/debug/bearerd"; do
    [ -n "$binary" ] || { [ -x "$candidate" ] && binary=$candidate; }
done
[ -n "$binary" ] || { echo "FAIL systemd: there is no bearerd to test; build it first"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
debian "$root"

# As the package puts them.
install -m 0755 "$binary" "$root/usr/bin/bearerd"
install -d "$root/usr/lib/systemd/system" "$root/usr/lib/sysusers.d" "$root/usr/share/doc/bearerd"
install -m 0644 "$top"/systemd/bearerd.service "$top"/systemd/*.socket "$root/usr/lib/systemd/system/"
install -m 0644 "$top/systemd/bearerd.sysusers" "$root/usr/lib/sysusers.d/bearerd.conf"
install -m 0644 "$top"/systemd/*.conf "$root/usr/share/doc/bearerd/"
install -d -m 0750 "$root/etc/bearerd"
printf '[services.one]\nsecret_file = "one.secret"\ngroups = ["admin"]\n' >"$root/etc/bearerd/bearerd.toml"
boot "$root" "$here/../systemd-inside.sh" "$work/console"
