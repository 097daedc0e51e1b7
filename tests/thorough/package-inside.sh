#!/usr/bin/env bash
# What parts/package.sh runs inside the booted system. One line for each claim.
set -u
# Never on a machine that somebody uses.
systemd-detect-virt --quiet --container || { echo "this runs inside the booted container alone" >&2; exit 2; }
failed=0
check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >&2; then echo "ok package: $name"; else echo "FAIL package: $name"; failed=1; fi
}
not() { ! "$@"; }
export DEBIAN_FRONTEND=noninteractive
of() { stat -c %U:%G:%a "$1"; }
runs() { systemctl is-active --quiet bearerd; }
version() { dpkg-query -W -f '${Version}' bearerd; }

check "it installs" dpkg -i /packages/1.0.0-1.deb
check "it runs, and starts with the machine" eval 'runs && systemctl is-enabled --quiet bearerd'
check "it has a user of its own" id bearerd
check "and one group for its admins" getent group bearerd-admin
check "its configuration is for its user to read" [ "$(of /etc/bearerd/bearerd.toml)" = root:bearerd:640 ]
check "as is the folder" [ "$(of /etc/bearerd)" = root:bearerd:750 ]
check "its data is its own" [ "$(of /var/lib/bearerd)" = bearerd:bearerd:700 ]
check "commands reach it" bearerd status
check "it can be asked" curl -sf http://127.0.0.1:8420/readyz

bearerd user create kept@example.org >&2
# Not only content: it must have found the daemon, and gone through a log that has something in it.
log_is_checked() {
    local told
    told=$(bearerd check --json) || return 1
    echo "$told"
    [[ $told == *'"ok":true'* && $told == *'"running":true'* && $told != *'"entries":0'* ]]
}
check "its own check has gone through its log, and is content" log_is_checked
printf '\n[tokens]\nprefix = "acme"\n' >/etc/bearerd/bearerd.toml
pid=$(systemctl show -P MainPID bearerd)
check "it is upgraded" dpkg -i /packages/1.0.1-1.deb
check "to the new version" [ "$(version)" = 1.0.1-1 ]
check "which runs in place of the old" eval 'runs && [ "$(systemctl show -P MainPID bearerd)" != "$pid" ]'
check "with what the operator configured" grep -q acme /etc/bearerd/bearerd.toml
check "whose modes are as before" [ "$(of /etc/bearerd/bearerd.toml)" = root:bearerd:640 ]
check "and what it kept" bearerd user show kept@example.org
backed_up() { bearerd backup /root/copy --json | tee /dev/stderr | grep -q '"checked":true'; }
check "which is backed up, and the backup looked at" backed_up

systemctl disable --now bearerd >&2
check "an upgrade of a disabled one" dpkg -i /packages/1.0.0-1.deb
check "leaves it disabled" not systemctl is-enabled --quiet bearerd
check "and stopped" not runs
whole() { bearerd check --data /var/lib/bearerd --json | tee /dev/stderr | grep -q '"left_out":\[\]'; }
check "its store is checked whole where it lies" whole
check "and replaced by the backup" bearerd restore /root/copy --data /var/lib/bearerd
check "which is the daemon's own" [ "$(of /var/lib/bearerd/bearerd.redb)" = bearerd:bearerd:600 ]
systemctl enable --now bearerd >&2

check "it is removed" dpkg -r bearerd
check "and stopped with it" not runs
check "the program is gone" [ ! -e /usr/bin/bearerd ]
check "the data is not" [ -s /var/lib/bearerd/bearerd.redb ]
check "nor is the configuration" [ -e /etc/bearerd/bearerd.toml ]
check "it is installed again" dpkg -i /packages/1.0.1-1.deb
check "and holds what it held" bearerd user show kept@example.org

touch /etc/bearerd/keyring.old
check "it is purged" dpkg -P bearerd
check "with its data" [ ! -e /var/lib/bearerd ]
check "and its configuration" [ ! -e /etc/bearerd/bearerd.toml ]
check "what an operator put beside it is left" [ -e /etc/bearerd/keyring.old ]
check "no unit is left enabled" [ ! -e /etc/systemd/system/multi-user.target.wants/bearerd.service ]
check "dpkg knows nothing of it" eval '! dpkg-query -W bearerd 2>/dev/null | grep -q .'

journalctl -u bearerd -o cat --no-pager | tail -40 >&2
[ $failed = 0 ] && echo "ok package: all was gone through"
exit 0
