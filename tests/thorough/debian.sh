# What the parts that need a Debian share: its root, and booting a copy of it. Sourced, with `part` set to the
# part's name; where something cannot be had, the part is skipped with the reason, which is not passed.
#
#   BEARERD_SYSTEMD_ROOT     a Debian with systemd, systemd-sysv, dbus and curl; else one is made under target/
#   BEARERD_DEBIAN_MIRROR    where that is made from
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
skip() { echo "skip $part: $1"; exit 0; }

debian() { # debian ROOT: a copy of the base, which is made first where there is none
    [ "$(id -u)" = 0 ] || skip "needs root to boot a container"
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    local base=${BEARERD_SYSTEMD_ROOT:-$target/thorough/systemd-root}
    if [ ! -e "$base/usr/bin/systemctl" ]; then
        command -v debootstrap >/dev/null || skip "debootstrap is not installed"
        mkdir -p "$(dirname "$base")"
        rm -rf "$base.new"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,curl bookworm "$base.new" \
            "${BEARERD_DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$base.log" 2>&1 \
            || skip "no Debian could be made: $(tail -1 "$base.log")"
        mv "$base.new" "$base"
    fi
    cp -a "$base" "$1"
}

boot() { # boot ROOT SCRIPT CONSOLE: boots it, runs SCRIPT in it, prints what that printed; fails if a line of it does
    local root=$1
    install -m 0755 "$2" "$root/usr/local/bin/inside"
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
        >"$3" 2>&1 </dev/null
    if [ ! -s "$root/results" ]; then
        skip "no system could be booted here: $(grep -v '^$' "$3" | tail -1 | tr -d '\r')"
    fi
    cat "$root/results"
    if grep -q '^FAIL' "$root/results" || ! grep -q "^ok $part: all was gone through" "$root/results"; then
        tail -40 "$root/results.err" >&2
        return 1
    fi
}
