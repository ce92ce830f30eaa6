#!/bin/sh
# What several machines run, on this one and without containers: two Spin processes that share a Redis and a
# PostgreSQL, and somebody who asks each for its readiness. It ends with Ctrl-C, and takes all four along.
#
#   export SPIN_VARIABLE_JWKS=… SPIN_VARIABLE_SECRETS_KEY="$(openssl rand -base64 32)"
#   deploy/example/up.sh DIRECTORY
#
# It needs spin 4.1, redis-server, PostgreSQL's programs and curl on PATH, and built components
# (`spin build`). What is in DIRECTORY stays, and is used again: keep the key with it. Ports: 3000 and 3001 for
# the service, 6390 for Redis, 5490 for PostgreSQL; FIRST, SECOND, REDIS and POSTGRES change them.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${1:?the directory of the data}"
data=$(cd "$1" && pwd)
first=${FIRST:-3000} second=${SECOND:-3001} redis=${REDIS:-6390} postgres=${POSTGRES:-5490}
: "${SPIN_VARIABLE_SECRETS_KEY:?is required: openssl rand -base64 32}"

# PostgreSQL does not run as root. Takes the shell's place, so that what is ended is the server itself.
unprivileged() {
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
    else
        exec "$@"
    fi
}

started=
end() {
    trap - EXIT INT TERM
    for process in $started; do
        kill "$process" 2>/dev/null || :
    done
    wait
}
trap end EXIT
trap 'exit 0' INT TERM

# Waits until something answers, or one of the processes is gone.
until_it_does() {
    while ! "$@" >/dev/null 2>&1; do
        for process in $started; do
            kill -0 "$process" 2>/dev/null || { echo "A process ended: see the logs in $data" >&2; exit 1; }
        done
        sleep 0.2
    done
}

redis-server --port "$redis" --bind 127.0.0.1 --dir "$data" --appendonly yes \
    --maxmemory-policy noeviction >"$data/redis.log" &
started="$started $!"

if [ ! -d "$data/postgres" ]; then
    mkdir "$data/postgres"
    [ "$(id -u)" != 0 ] || chown postgres: "$data/postgres"
    # An example's: whoever is on this machine may connect.
    (unprivileged initdb -D "$data/postgres" -U application_webhooks --auth=trust) >"$data/initdb.log"
fi
unprivileged postgres -D "$data/postgres" -p "$postgres" -h 127.0.0.1 -k "" >"$data/postgres.log" 2>&1 &
started="$started $!"
until_it_does pg_isready -h 127.0.0.1 -p "$postgres"
psql -h 127.0.0.1 -p "$postgres" -U application_webhooks -d postgres -tA \
    -c "SELECT 1 FROM pg_database WHERE datname = 'events'" | grep -q 1 ||
    createdb -h 127.0.0.1 -p "$postgres" -U application_webhooks events

# As deploy/postgres.env and deploy/redis.toml have them, with this example's addresses.
export SPIN_VARIABLE_EVENTS_DATABASE="postgres://application_webhooks@127.0.0.1:$postgres/events"
export SPIN_VARIABLE_EVENTS_DATABASE_HOST="postgres://127.0.0.1:$postgres"
sed "s|^url = .*|url = \"redis://127.0.0.1:$redis\"|" "$here/deploy/redis.toml" >"$data/runtime-config.toml"
for port in "$first" "$second"; do
    spin up --from "$here/spin.toml" --listen "127.0.0.1:$port" --state-dir "$data/spin-$port" \
        --runtime-config-file "$data/runtime-config.toml" >"$data/spin-$port.log" 2>&1 &
    started="$started $!"
done
for port in "$first" "$second"; do
    until_it_does curl --silent --fail --max-time 5 "http://127.0.0.1:$port/dispatcher/readyz"
    echo "Serving http://127.0.0.1:$port"
done

# The clock of deliveries, for each process.
while sleep 1; do
    for port in "$first" "$second"; do
        curl --silent --max-time 5 --output /dev/null "http://127.0.0.1:$port/dispatcher/readyz" || :
    done
done
