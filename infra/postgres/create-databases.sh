#!/usr/bin/env bash
# One role and one database for each server that keeps its state in PostgreSQL.
# The image runs this once, on the first start with an empty data folder. The order matters: the health check in
# compose.yaml takes the last database as the sign that this script got to its end.
set -euo pipefail

: "${PREFECT_DB_PASSWORD:?is not set: no password for the role prefect}"
: "${MLFLOW_DB_PASSWORD:?is not set: no password for the role mlflow}"

create_database() {
    # psql reads the password from its environment: command lines can be read by every process of the machine.
    DATABASE_NAME=$1 DATABASE_PASSWORD=$2 psql --no-psqlrc --set ON_ERROR_STOP=1 \
        --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv name DATABASE_NAME
\getenv password DATABASE_PASSWORD
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

create_database prefect "$PREFECT_DB_PASSWORD"
create_database mlflow "$MLFLOW_DB_PASSWORD"
