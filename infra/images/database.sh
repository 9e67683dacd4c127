#!/bin/sh
# PostgreSQL, which makes its cluster at the first start: one database, and one role over the network that owns it, with
# the password that the mounted secret has at each start. The administrator comes in by the socket only, which no other
# container has.
set -eu
alone() { postgres --single -D "$1" postgres >/dev/null; }

if [ ! -s /data/cluster/PG_VERSION ]; then
    rm -rf /data/making
    initdb --pgdata=/data/making --username=postgres --auth-local=trust --auth-host=reject --encoding=UTF8 \
        --locale=C.UTF-8 >/dev/null
    echo 'host stars stars all scram-sha-256' >>/data/making/pg_hba.conf
    alone /data/making <<SQL
CREATE ROLE stars LOGIN
CREATE DATABASE stars OWNER stars
SQL
    mv /data/making /data/cluster # whole or not at all
fi
echo "ALTER ROLE stars PASSWORD '$(tr -cd 'A-Za-z0-9_-' </run/secrets/database_password)'" | alone /data/cluster
exec postgres -D /data/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp \
    -c shared_buffers=64MB -c max_connections=50
