#!/usr/bin/env bash
# What systemd.sh runs inside the booted system. One line for each claim.
set -u
# Never on a machine that somebody uses.
systemd-detect-virt --quiet --container || { echo "this runs inside the booted container alone" >&2; exit 2; }
failed=0
check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >&2; then echo "ok systemd: $name"; else echo "FAIL systemd: $name"; failed=1; fi
}
not() { ! "$@"; }
eventually() { # COMMAND...: within 20 s
    for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
    return 1
}
status_of() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
url=http://127.0.0.1:8420
ready() { [ "$(status_of $url/readyz)" = 200 ]; }
secret() { printf '%s-%s\n' "$1" 0123456789abcdef0123456789abcdef; }
put() { secret "$1" >/etc/bearerd/one.secret.new && chown root:bearerd /etc/bearerd/one.secret.new \
    && chmod 0640 /etc/bearerd/one.secret.new && mv /etc/bearerd/one.secret.new /etc/bearerd/one.secret; }
works() { [ "$(status_of -H "Authorization: Bearer $(secret "$1")" $url/v1/me)" = 200 ]; }
refused() { [ "$(status_of -H "Authorization: Bearer $(secret "$1")" $url/v1/me)" = 401 ]; }
shown() { systemctl show -P "$1" bearerd.service; }
says() { shown StatusText | grep -q "$1"; }

systemd-sysusers
chown root:bearerd /etc/bearerd /etc/bearerd/bearerd.toml
chmod 0750 /etc/bearerd
mkdir -p /etc/systemd/system/bearerd.service.d
printf '[Service]\nWatchdogSec=3\n' >/etc/systemd/system/bearerd.service.d/watchdog.conf
put first
systemctl daemon-reload

check "starts and says that it is ready" systemctl start bearerd
check "readiness is an open port" ready
check "its status says what is in force" says 'configuration 1; services 1 of 1 on'
check "a service is let in" works first
check "no install token is in the journal" not sh -c 'journalctl -u bearerd | grep -q bdr_ist_'
check "the log has priorities" sh -c 'journalctl -u bearerd -p info -o cat | grep -q "service enabled"'
check "the data is the daemon's alone" [ "$(stat -c %U:%a /var/lib/bearerd/)" = bearerd:700 ]
check "the admin socket is the daemon's alone" [ "$(stat -c %U:%a /run/bearerd/admin.sock)" = bearerd:600 ]
check "commands reach it" bearerd status
check "no core image" grep -q 'Max core file size *0 *0' "/proc/$(shown MainPID)/limits"

put second
check "a good reload succeeds" systemctl reload bearerd
check "and lets the new secret in" works second
check "and the old one out" refused first
check "and is in the status" says 'configuration 2'

echo short >/etc/bearerd/one.secret
check "a bad reload fails" not systemctl reload bearerd
check "and leaves the old secret in force" works second
check "and is in the status" says 'LAST RELOAD REFUSED'
check "and leaves the unit active" systemctl is-active -q bearerd

put third
systemctl kill -s HUP --kill-who=main bearerd
check "a signal reloads" eventually works third
check "who sent it is in the audit log" sh -c \
    'curl -s --unix-socket /run/bearerd/admin.sock http://x/v1/audit?action=config.reload | grep -q "SIGHUP from process"'

sleep 8
check "the watchdog lets it live" [ "$(shown NRestarts)" = 0 ]
kill -STOP "$(shown MainPID)"
check "the watchdog ends what hangs" eventually sh -c '[ "$(systemctl show -P NRestarts bearerd)" -ge 1 ]'
check "and it is back" eventually works third

before=$(shown NRestarts)
kill -KILL "$(shown MainPID)"
check "it is started again after kill -9" eventually sh -c "[ \$(systemctl show -P NRestarts bearerd) -gt $before ]"
check "and serves" eventually works third

check "keys can be rotated" bearerd keys rotate
check "and the keyring is still the daemon's" [ "$(stat -c %U:%a /var/lib/bearerd/keyring)" = bearerd:600 ]
check "a backup is taken" bearerd backup /root/backup.redb

check "it stops" systemctl stop bearerd
check "cleanly" [ "$(shown Result)" = success ]

# Sockets that systemd opens, and no network.
cp /usr/share/doc/bearerd/bearerd-sockets.conf /etc/systemd/system/bearerd.service.d/
rm /etc/systemd/system/bearerd.service.d/watchdog.conf
systemctl daemon-reload
check "the sockets are opened" systemctl enable --now bearerd.socket bearerd-admin.socket
check "a connection starts it" eventually works third
check "inside it there is no network but its own" \
    not [ "$(readlink /proc/self/ns/net)" = "$(readlink "/proc/$(shown MainPID)/ns/net")" ]
export BEARERD_SOCKET=/run/bearerd-admin/admin.sock
check "commands reach it" bearerd status
put fourth
check "a reload succeeds there, too" systemctl reload bearerd
check "and lets the new secret in" works fourth
check "the audit log names who came through the admin socket" sh -c \
    'curl -s --unix-socket /run/bearerd-admin/admin.sock -X POST http://x/v1/admin/reload >/dev/null; \
     curl -s --unix-socket /run/bearerd-admin/admin.sock http://x/v1/audit?action=config.reload | grep -q "\"local:0\""'
(for _ in $(seq 300); do status_of $url/healthz; echo; done) >/tmp/during &
asking=$!
systemctl restart bearerd
systemctl restart bearerd
wait $asking
check "a restart refuses nobody" [ "$(sort -u /tmp/during)" = 200 ]
check "it stops" systemctl stop bearerd.socket bearerd-admin.socket bearerd
check "cleanly" [ "$(shown Result)" = success ]

journalctl -u bearerd -o cat --no-pager | tail -60 >&2
[ $failed = 0 ] && echo "ok systemd: all was gone through"
exit 0
