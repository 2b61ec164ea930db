#!/bin/sh
# SPDX-License-Identifier: MIT
# A PostgreSQL of its own for tests, in a folder:
#   tests/postgres.sh install            installs Debian's packages where there is no PostgreSQL, no HAProxy
#   tests/postgres.sh start FOLDER PID   makes and starts it, on a socket in FOLDER and a free port of 127.0.0.1;
#                                        with TLS (FOLDER/root.crt); prints that port.  User damso, password pw (the socket asks for none).  It
#                                        ends with the process PID at the latest.
#   tests/postgres.sh restart FOLDER     as after the lack of power
#   tests/postgres.sh stop FOLDER        ends it and removes FOLDER
# PostgreSQL refuses to run as root: then it runs as the user postgres of Debian's package.
set -eu
if [ "${DAMSO_TEST_POSTGRES:-}" = off ]; then
    [ "$1" = install ] && exit 0
    exit 77
fi
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb || echo /none/initdb)")
if [ "$1" = install ]; then
    [ -x "$bin/initdb" ] || "$(dirname "$0")/../tools/setup.sh" postgresql
    command -v haproxy >/dev/null || exec "$(dirname "$0")/../tools/setup.sh" haproxy # before several servers
    exit 0
fi
if [ ! -x "$bin/initdb" ]; then
    echo "no PostgreSQL (Debian: apt install postgresql); DAMSO_TEST_POSTGRES=off leaves its tests out" >&2
    exit 1
fi
folder=$2
as() {
    if [ "$(id -u)" = 0 ]; then (cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"); else "$@"; fi
}
case $1 in
start)
    mkdir -p "$folder"
    chmod 711 "$folder"
    mkdir -p "$folder/pg"
    [ "$(id -u)" != 0 ] || chown -R postgres: "$folder/pg"
    echo pw >"$folder/pw"
    chmod 644 "$folder/pw"
    as "$bin/initdb" -D "$folder/pg/data" -U damso --pwfile="$folder/pw" --auth-local=trust \
        --auth-host=scram-sha-256 -E UTF8 --locale=C --no-sync >/dev/null
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$folder/pg/data/server.key" -out "$folder/root.crt" 2>/dev/null
    cp "$folder/root.crt" "$folder/pg/data/server.crt"
    chmod 600 "$folder/pg/data/server.key"
    [ "$(id -u)" != 0 ] || chown postgres: "$folder/pg/data/server.key" "$folder/pg/data/server.crt"
    for try in 1 2 3 4 5; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        cat >>"$folder/pg/data/postgresql.conf" <<CONF
port = $port
listen_addresses = '127.0.0.1'
ssl = on
unix_socket_directories = '$folder/pg'
max_connections = 40
shared_buffers = 16MB
CONF
        as "$bin/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -w -t 60 start >/dev/null 2>&1 && break
        [ $try != 5 ] || { cat "$folder/pg/log" >&2; exit 1; }
    done
    echo "$port"
    (
        trap '' HUP INT TERM
        while kill -0 "$3" 2>/dev/null && [ -e "$folder/pg/data/PG_VERSION" ]; do sleep 1; done
        [ ! -e "$folder/pg/data/PG_VERSION" ] || "$0" stop "$folder"
    ) </dev/null >/dev/null 2>&1 &
    ;;
restart)
    as "$bin/pg_ctl" -D "$folder/pg/data" -m immediate -w stop >/dev/null
    # A client that asks for the port meanwhile may have been given that very number for its own side.
    for try in 1 2 3 4 5; do
        as "$bin/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -w -t 60 start >/dev/null 2>&1 && break
        [ $try != 5 ] || { cat "$folder/pg/log" >&2; exit 1; }
        sleep 1
    done
    ;;
stop)
    as "$bin/pg_ctl" -D "$folder/pg/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$folder"
    ;;
esac
