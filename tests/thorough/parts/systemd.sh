#!/usr/bin/env bash
# Boots a real systemd in a container with the units of systemd/, and goes through what an operator does:
# start, readiness, reload good and bad, watchdog, kill, stop, and the variant with sockets and no network.
#
# Prints `ok NAME`, `FAIL NAME` or `skip NAME WHY`, a line each, and fails if anything did. Where no system
# can be booted everything is skipped, which is not passed.
#
#   BEARERD_BIN              the binary; else target/release/bearerd, else target/debug/bearerd
#   BEARERD_SYSTEMD_ROOT     a Debian with systemd, systemd-sysv, dbus and curl; else one is made under target/
#   BEARERD_DEBIAN_MIRROR    where that is made from
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
skip() { echo "skip systemd $1"; exit 0; }

[ "$(id -u)" = 0 ] || skip "needs root to boot a container"
command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
binary=${BEARERD_BIN:-}
for candidate in "$target/release/bearerd" "$target/debug/bearerd"; do
    [ -n "$binary" ] || { [ -x "$candidate" ] && binary=$candidate; }
done
[ -n "$binary" ] || { echo "FAIL systemd: there is no bearerd to test; build it first"; exit 1; }

base=${BEARERD_SYSTEMD_ROOT:-$target/thorough/systemd-root}
if [ ! -e "$base/usr/bin/systemctl" ]; then
    command -v debootstrap >/dev/null || skip "debootstrap is not installed"
    mkdir -p "$(dirname "$base")"
    rm -rf "$base.new"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,curl bookworm "$base.new" \
        "${BEARERD_DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$base.log" 2>&1 \
        || skip "no Debian could be made: $(tail -1 "$base.log")"
    mv "$base.new" "$base"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
cp -a "$base" "$root"

# As the package puts them.
install -m 0755 "$binary" "$root/usr/bin/bearerd"
install -d "$root/usr/lib/systemd/system" "$root/usr/lib/sysusers.d" "$root/usr/share/doc/bearerd"
install -m 0644 "$top"/systemd/bearerd.service "$top"/systemd/*.socket "$root/usr/lib/systemd/system/"
install -m 0644 "$top/systemd/bearerd.sysusers" "$root/usr/lib/sysusers.d/bearerd.conf"
install -m 0644 "$top"/systemd/*.conf "$root/usr/share/doc/bearerd/"
install -d -m 0750 "$root/etc/bearerd"
printf '[services.one]\nsecret_file = "one.secret"\ngroups = ["admin"]\n' >"$root/etc/bearerd/bearerd.toml"
install -m 0755 "$here/../systemd-inside.sh" "$root/usr/local/bin/inside"
cat >"$root/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
After=basic.target dbus.service
[Service]
Type=oneshot
ExecStart=/usr/local/bin/inside
ExecStopPost=/usr/bin/systemctl --no-block poweroff
StandardOutput=file:/results
StandardError=file:/results.err
TimeoutStartSec=300
UNIT
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf /etc/systemd/system/inside.service "$root/etc/systemd/system/multi-user.target.wants/inside.service"

timeout 420 systemd-nspawn -q -D "$root" --private-network --boot --register=no --keep-unit \
    >"$work/console" 2>&1 </dev/null
if [ ! -s "$root/results" ]; then
    skip "no system could be booted here: $(grep -v '^$' "$work/console" | tail -1 | tr -d '\r')"
fi
cat "$root/results"
if grep -q '^FAIL' "$root/results" || ! grep -q '^ok systemd: all was gone through' "$root/results"; then
    tail -40 "$root/results.err" >&2
    exit 1
fi
