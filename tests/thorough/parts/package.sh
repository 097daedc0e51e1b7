#!/usr/bin/env bash
# Builds the Debian package, looks at what is in it, and installs, upgrades, removes and purges it in a booted
# Debian.
#
# Prints `ok NAME`, `FAIL NAME` or `skip NAME WHY`, a line each, and fails if anything did.
#
#   BEARERD_PACKAGE_PROFILE   the build profile; `dev` with --quick, else `release`
set -u
here=$(cd "$(dirname "$0")" && pwd)
part=package
. "$here/../debian.sh"
failed=0
check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then echo "ok package: $name"; else echo "FAIL package: $name"; failed=1; fi
}

command -v dpkg-deb >/dev/null || skip "dpkg-deb is not installed"
command -v cargo-deb >/dev/null || cargo install --quiet --locked cargo-deb >/dev/null 2>&1 \
    || skip "cargo-deb is not installed and cannot be"
profile=${BEARERD_PACKAGE_PROFILE:-release}
[ -z "${THOROUGH_QUICK:-}" ] || profile=${BEARERD_PACKAGE_PROFILE:-dev}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build() { # VERSION: the package of that version, into $work
    local made
    made=$(BEARERD_DEB_VERSION=$1 "$top/systemd/debian/build" "$profile" | tail -1) && cp "$made" "$work/$1.deb"
}
build 1.0.0-1 && build 1.0.1-1 || { echo "FAIL package: it is built"; exit 1; }
echo "ok package: it is built"

deb=$work/1.0.0-1.deb
dpkg-deb --contents "$deb" | awk '{print $1, $2, $6}' >"$work/contents"
holds() { grep -qxF -- "$1" "$work/contents" || { echo "not in the package: $1" >&2; false; }; }
check "the program" holds "-rwxr-xr-x 0/0 ./usr/bin/bearerd"
for unit in bearerd.service bearerd.socket bearerd-admin.socket; do
    check "$unit" holds "-rw-r--r-- 0/0 ./usr/lib/systemd/system/$unit"
done
check "its user" holds "-rw-r--r-- 0/0 ./usr/lib/sysusers.d/bearerd.conf"
check "its configuration, not for everybody" holds "-rw-r----- 0/0 ./etc/bearerd/bearerd.toml"
check "which stays as an operator changed it" \
    [ "$(dpkg-deb --info "$deb" conffiles)" = /etc/bearerd/bearerd.toml ]
for page in "$top"/docs/man/*.[15]; do
    name=$(basename "$page")
    holds "-rw-r--r-- 0/0 ./usr/share/man/man${name##*.}/$name.gz" || missing=1
done
check "every manual page" [ -z "${missing:-}" ]
check "the installer that a page links to" holds "-rwxr-xr-x 0/0 ./usr/share/doc/bearerd/enroll.sh"
for file in bash-completion/completions/bearerd zsh/vendor-completions/_bearerd \
    fish/vendor_completions.d/bearerd.fish; do
    check "completions: $file" holds "-rw-r--r-- 0/0 ./usr/share/$file"
done
for script in postinst prerm postrm; do
    check "$script is a script" sh -n <(dpkg-deb --info "$deb" "$script")
done
check "nothing belongs to anybody but root" [ "$(awk '$2 != "0/0"' "$work/contents")" = "" ]
[ $failed = 0 ] || exit 1

root=$work/root
debian "$root"
mkdir "$root/packages"
cp "$work"/*.deb "$root/packages/"
boot "$root" "$here/../package-inside.sh" "$work/console"
