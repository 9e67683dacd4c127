#!/bin/sh
# PostgreSQL, which makes its cluster at the first start: one database, and one role over the network that owns it, with
# the password of the mounted secret. The administrator comes in by the socket only, which no other container has.
set -eu
if [ ! -s /data/cluster/PG_VERSION ]; then
    rm -rf /data/making
    initdb --pgdata=/data/making --username=postgres --auth-local=trust --auth-host=reject --encoding=UTF8 \
        --locale=C.UTF-8 >/dev/null
    echo 'host stars stars all scram-sha-256' >>/data/making/pg_hba.conf
    postgres --single -D /data/making postgres >/dev/null <<SQL
CREATE ROLE stars LOGIN PASSWORD '$(tr -cd 'A-Za-z0-9_-' </run/secrets/database_password)'
CREATE DATABASE stars OWNER stars
SQL
    mv /data/making /data/cluster # whole or not at all
fi
exec postgres -D /data/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp \
    -c shared_buffers=64MB -c max_connections=50
