#!/bin/sh
# Enrols this host with bearerd: trades the one-time token on standard input for a bearer of its own,
# then fetches the credentials that were sealed for it.
#
#   enroll.sh URL DIRECTORY [HOSTNAME] < token
#
# DIRECTORY (made with mode 0700) then holds
#
#   agent_token       the host's bearer
#   host_id           who the host is
#   credentials.json  what the operator sealed for it, if anything
#
# An example of the host's side: POSIX sh and curl, nothing else. It may be run again whenever it did not
# end with 0. A reply that got lost on its way, or a run that was killed, costs nothing: the same attempt
# gets the same reply for ten minutes, until the agent token is first used.
#
# No secret is ever an argument of a command, where every user of the machine could read it.
#
# It ends with 0 when the host is enrolled, 1 when that failed and is worth another run, 2 when it was
# called wrongly, 4 when the token is not good (ask the operator for another), 6 when the name is taken.
#
# ENROLL_TRIES (5) says how often to ask, ENROLL_PAUSE (2) how many seconds to wait after the first time,
# doubled each time.

set -eu
umask 077

say() { printf 'enroll: %s\n' "$*" >&2; }
die() { status=$1; shift; say "$*"; exit "$status"; }

[ $# -eq 2 ] || [ $# -eq 3 ] || die 2 'usage: enroll.sh URL DIRECTORY [HOSTNAME] < token'
url=${1%/}
directory=$2
hostname=${3:-$(uname -n)}
tries=${ENROLL_TRIES:-5}
pause=${ENROLL_PAUSE:-2}

# What goes into the JSON below needs no escaping, because it is this and nothing else.
case $hostname in
    '' | *[!A-Za-z0-9._-]*) die 2 "a host's name has letters, digits, dots, hyphens and underscores" ;;
esac
os=$(uname -s | tr '[:upper:]' '[:lower:]' | tr -cd 'a-z0-9._-')
arch=$(uname -m | tr -cd 'A-Za-z0-9._-')

mkdir -p "$directory"
scratch=$directory/.enroll.$$
mkdir "$scratch"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# ask OUTPUT [curl's options]: prints the status, 000 where there was no answer. The answer is in OUTPUT;
# what is secret about the question comes on standard input.
ask() {
    output=$1
    shift
    curl --silent --max-time 20 --output "$output" --write-out '%{http_code}' "$@" || :
}

# field NAME: the value of a field in the answer; all of ours are words that JSON does not escape.
field() { sed -n 's/.*"'"$1"'":"\([A-Za-z0-9_]*\)".*/\1/p' "$scratch/answer"; }

# keep NAME: moves a finished file into its place, whole or not at all.
keep() { mv -f "$scratch/$1" "$directory/$1"; }

enroll() {
    IFS= read -r token || [ -n "${token:-}" ] || die 2 'there is no token on standard input'
    case $token in
        '' | *[!A-Za-z0-9_]*) die 4 'that is no enrolment token' ;;
    esac

    # Written before it is first used, so that a run after this one asks for the same reply.
    if [ ! -s "$directory/attempt" ]; then
        od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$scratch/attempt"
        keep attempt
    fi
    attempt=$(cat "$directory/attempt")

    try=1
    while :; do
        status=$(printf '{"token":"%s","attempt":"%s","hostname":"%s","os":"%s","arch":"%s"}' \
            "$token" "$attempt" "$hostname" "$os" "$arch" |
            ask "$scratch/answer" --header 'Content-Type: application/json' \
                --data-binary @- "$url/v1/enroll")
        case $status in
            201) break ;;
            401) die 4 'the token is not good: unknown, expired, revoked, used, or for another name' ;;
            409) die 6 "a host named $hostname is enrolled already; the token is not spent" ;;
            400 | 413) die 2 "refused: $(field code) $(field field)" ;;
        esac
        # No answer, or one that says later (429, 503, 507): the same request again, the same attempt in it.
        [ "$try" -lt "$tries" ] || die 1 "no answer after $tries tries (the last: $status); run this again"
        say "try $try: $status; again in $pause s"
        sleep "$pause"
        try=$((try + 1))
        pause=$((pause * 2))
    done

    field host_id > "$scratch/host_id"
    field agent_token > "$scratch/agent_token"
    [ -s "$scratch/host_id" ] && [ -s "$scratch/agent_token" ] || die 1 'the answer cannot be read'
    keep host_id
    keep agent_token
    # On the disk before it is first used, for then it is not told again.
    sync "$directory/host_id" "$directory/agent_token" 2>/dev/null || sync || :
}

[ -s "$directory/agent_token" ] || enroll
host=$(cat "$directory/host_id")
agent=$(cat "$directory/agent_token")

# From here on the agent token is in use, and the reply is not told again.
status=$(printf 'Authorization: Bearer %s\n' "$agent" |
    ask "$scratch/credentials.json" --header @- "$url/v1/hosts/$host/credentials")
case $status in
    200) keep credentials.json ;;
    404) ;;
    *) die 1 "enrolled, but the credentials could not be fetched ($status); run this again" ;;
esac
rm -f "$directory/attempt"
say "this host is $host"
