-- What Phases 1-4 of the platform would have left behind, made only where it is missing:
-- enough of auth and util for the capacity steps to stand on in a database that is not One Vault's.
-- On One Vault itself this file finds everything in place and changes nothing.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

CREATE SCHEMA IF NOT EXISTS auth;
CREATE SCHEMA IF NOT EXISTS util;

CREATE TABLE IF NOT EXISTS auth.tenant_h (
    tenant_hk     bytea        PRIMARY KEY,
    tenant_bk     varchar(255) NOT NULL UNIQUE,
    load_date     timestamptz  NOT NULL,
    record_source varchar(100) NOT NULL
);

CREATE TABLE IF NOT EXISTS auth.tenant_profile_s (
    tenant_hk     bytea        NOT NULL REFERENCES auth.tenant_h,
    load_date     timestamptz  NOT NULL,
    load_end_date timestamptz,
    hash_diff     bytea        NOT NULL,
    tenant_name   varchar(200) NOT NULL,
    domain_name   varchar(255),
    is_active     boolean      NOT NULL DEFAULT true,
    max_users     integer,
    record_source varchar(100) NOT NULL,
    PRIMARY KEY (tenant_hk, load_date)
);

CREATE TABLE IF NOT EXISTS auth.user_h (
    user_hk       bytea        PRIMARY KEY,
    user_bk       varchar(255) NOT NULL,
    tenant_hk     bytea        NOT NULL REFERENCES auth.tenant_h,
    load_date     timestamptz  NOT NULL,
    record_source varchar(100) NOT NULL
);

DO $standin$
BEGIN
    IF to_regprocedure('util.hash_binary(text)') IS NULL THEN
        CREATE FUNCTION util.hash_binary(p_input text) RETURNS bytea
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        AS $$ SELECT sha256(convert_to(p_input, 'UTF8')) $$;
        COMMENT ON FUNCTION util.hash_binary(text) IS 'SHA-256 of the text''s UTF-8 bytes.';
    END IF;
    IF to_regprocedure('util.current_load_date()') IS NULL THEN
        CREATE FUNCTION util.current_load_date() RETURNS timestamptz
        LANGUAGE sql STABLE AS $$ SELECT current_timestamp $$;
    END IF;
    IF to_regprocedure('util.get_record_source()') IS NULL THEN
        CREATE FUNCTION util.get_record_source() RETURNS varchar
        LANGUAGE sql STABLE AS $$ SELECT 'STANDIN'::varchar $$;
    END IF;
END
$standin$;

COMMIT;
