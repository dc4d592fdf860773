-- A test double of Citus, in plain SQL: it is not Citus, and moves no row. It has the catalogue and the
-- functions that `threadline migrate --citus` uses, by their names and signatures, writes down each call,
-- and refuses what Citus refuses of keys, constraints and policies
-- (github.com/citusdata/citus, src/backend/distributed/commands: create_distributed_table.c,
-- foreign_constraint.c, policy.c).

CREATE SCHEMA citus;
CREATE TYPE citus.distribution_type AS ENUM ('hash', 'range', 'append');

CREATE TABLE citus.calls (number serial PRIMARY KEY, call text NOT NULL);
CREATE TABLE pg_dist_node (groupid int PRIMARY KEY);
INSERT INTO pg_dist_node VALUES (0), (1), (2);
-- partmethod: h distributed by hash, n none; repmodel: t copied, s on the coordinator
CREATE TABLE pg_dist_partition (
    logicalrelid regclass PRIMARY KEY,
    partmethod   "char" NOT NULL,
    partkey      text,
    colocationid int NOT NULL,
    repmodel     "char" NOT NULL
);
CREATE SEQUENCE citus.colocations;

CREATE FUNCTION citus.check_table(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    key text := (SELECT partkey FROM pg_dist_partition WHERE logicalrelid = relation);
    found text;
BEGIN
    IF EXISTS (SELECT FROM pg_policy WHERE polrelid = relation
               AND concat(polqual::text, polwithcheck::text) LIKE '%{SUBLINK%') THEN
        RAISE EXCEPTION 'cannot create policy' USING
            DETAIL = 'Subqueries are not supported in policies on distributed tables';
    END IF;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attidentity <> '') THEN
        RAISE EXCEPTION 'cannot distribute relation: %', relation USING
            DETAIL = 'Distributed relations must not use GENERATED ... AS IDENTITY.';
    END IF;
    IF key IS NULL THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attname = key) THEN
        RAISE EXCEPTION 'column "%" of relation "%" does not exist', key, relation;
    END IF;
    SELECT i.indexrelid::regclass::text INTO found FROM pg_index i
    WHERE i.indrelid = relation AND i.indisunique AND NOT EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = key
        AND a.attnum = ANY(i.indkey::smallint[])) LIMIT 1;
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'cannot create constraint on "%"', relation USING
            DETAIL = 'Distributed relations cannot have UNIQUE, EXCLUDE, or PRIMARY KEY constraints '
                'that do not include the partition column: ' || found;
    END IF;
END $$;

CREATE FUNCTION citus.check_keys() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT k.conname, k.conrelid::regclass AS here, k.confrelid::regclass AS there,
               h.partmethod AS here_by, t.partmethod AS there_by, t.repmodel AS there_kept,
               h.colocationid = t.colocationid AS beside,
               (SELECT bool_or(ha.attname = h.partkey AND ta.attname = t.partkey)
                FROM unnest(k.conkey, k.confkey) AS c (mine, theirs)
                JOIN pg_attribute ha ON ha.attrelid = k.conrelid AND ha.attnum = c.mine
                JOIN pg_attribute ta ON ta.attrelid = k.confrelid AND ta.attnum = c.theirs) AS by_key
        FROM pg_constraint k
        LEFT JOIN pg_dist_partition h ON h.logicalrelid = k.conrelid
        LEFT JOIN pg_dist_partition t ON t.logicalrelid = k.confrelid
        WHERE k.contype = 'f' AND (h.logicalrelid IS NOT NULL OR t.logicalrelid IS NOT NULL)
    LOOP
        IF one.here_by IS NULL OR one.there_by IS NULL THEN
            RAISE EXCEPTION 'referenced table must be a distributed table or a reference table: % to %',
                one.here, one.there;
        ELSIF one.there_by = 'h' AND one.here_by = 'n' THEN
            RAISE EXCEPTION 'cannot create foreign key constraint since foreign keys from reference '
                'tables and local tables to distributed tables are not supported: %', one.conname;
        ELSIF one.here_by = 'h' AND one.there_by = 'n' AND one.there_kept <> 't'
           OR one.here_by = 'h' AND one.there_by = 'h' AND NOT one.beside THEN
            RAISE EXCEPTION 'cannot create foreign key constraint since relations are not colocated or '
                'not referencing a reference table: %', one.conname;
        ELSIF one.here_by = 'h' AND one.there_by = 'h' AND NOT one.by_key THEN
            RAISE EXCEPTION 'cannot create foreign key constraint: foreign keys are supported in two '
                'cases, either in between two colocated tables including partition column in the same '
                'ordinal in the both tables or from distributed to reference tables: %', one.conname;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION citus.brought(
    relation regclass, method "char", key text, colocation int, kept "char"
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = relation) THEN
        RAISE EXCEPTION 'table "%" is already distributed', relation;
    END IF;
    INSERT INTO pg_dist_partition VALUES (relation, method, key, colocation, kept);
    PERFORM citus.check_table(relation);
    PERFORM citus.check_keys();
END $$;

CREATE FUNCTION create_distributed_table(table_name regclass, distribution_column text,
    distribution_type citus.distribution_type DEFAULT 'hash', colocate_with text DEFAULT 'default',
    shard_count int DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    colocation int;
BEGIN
    INSERT INTO citus.calls (call) VALUES (
        format('distributed %s by %s beside %s', table_name, distribution_column, colocate_with));
    IF colocate_with = 'none' THEN
        colocation := nextval('citus.colocations');
    ELSE
        SELECT colocationid INTO STRICT colocation FROM pg_dist_partition
        WHERE logicalrelid = colocate_with::regclass AND partmethod = 'h';
    END IF;
    PERFORM citus.brought(table_name, 'h', distribution_column, colocation, 's');
END $$;

CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO citus.calls (call) VALUES (format('copied %s', table_name));
    PERFORM citus.brought(table_name, 'n', NULL, 0, 't');
END $$;

CREATE FUNCTION citus_add_local_table_to_metadata(table_name regclass,
    cascade_via_foreign_keys boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO citus.calls (call) VALUES (format('stays %s', table_name));
    PERFORM citus.brought(table_name, 'n', NULL, 0, 's');
END $$;

CREATE FUNCTION citus.on_alter() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM citus.check_keys();
END $$;
CREATE EVENT TRIGGER citus_alter ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION citus.on_alter();
