#!/usr/bin/env bash
# How many tokens PostgreSQL takes a second from 64 callers: a row of a token and a row of the audit log in one
# transaction, every commit synced, as it comes out of the package. Prints one number.
#   benches/compare/postgres.sh SECONDS FOLDER [PROCESSOR]
set -euo pipefail
seconds=$1 folder=$(mktemp -d -p "$2" postgres-XXXXXX) processor=${3:-0}
programs=$(find /usr/lib/postgresql -name bin -type d 2>/dev/null | sort -V | tail -1)
[ -x "$programs/postgres" ] || { echo "PostgreSQL is not installed" >&2; exit 3; }
# It does not run as root: whoever calls as root lends it to nobody.
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid nobody --regid nogroup --clear-groups "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown nobody:nogroup "$folder"
cleared() { as "$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$folder"; }
trap cleared EXIT
cd "$folder"
as "$programs/initdb" -D "$folder/data" -U bench --auth trust >/dev/null
as taskset -c "$processor" "$programs/pg_ctl" -D "$folder/data" -w -l "$folder/log" \
    -o "-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=80" start >/dev/null
ask() { as "$programs/psql" -q -h "$folder" -U bench postgres "$@"; }
ask -c "CREATE TABLE tokens (id uuid PRIMARY KEY, hash bytea, owner uuid, name text, made bigint);
        CREATE TABLE audit (seq bigserial PRIMARY KEY, at bigint, actor uuid, action text, entry text)"
cat >"$folder/mint.sql" <<'SQL'
BEGIN;
INSERT INTO tokens VALUES (gen_random_uuid(), decode(md5(random()::text), 'hex'), '00000000-0000-7000-8000-000000000000', 'bench', 1);
INSERT INTO audit (at, actor, action, entry) VALUES (1, '00000000-0000-7000-8000-000000000000', 'token.create', repeat('e', 200));
COMMIT;
SQL
chmod a+r "$folder/mint.sql"
as "$programs/pgbench" -n -h "$folder" -U bench -c 64 -j 1 -T "$seconds" -M prepared -f "$folder/mint.sql" postgres 2>/dev/null |
    sed -n 's/^tps = \([0-9.]*\).*/\1/p' | tail -1
