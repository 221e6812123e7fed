//! Neighbours in the database: what stands beside milestones, or in their place, runs nothing with milescale's rights.

use milescale_testkit::{Postgres, Workspace};

use super::{bounded, door};
use crate::workspace;

fn on_postgresql(server: &Postgres, database: &str) -> Workspace {
    let url = server.database(database);
    server.psql(database, "ALTER SCHEMA public OWNER TO ada");
    let workspace = workspace();
    workspace.milestones("m", 3);
    workspace.write(
        "config/storage-config.yaml",
        format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n  performance: {{query_timeout: 2}}\n"),
    );
    workspace
}

/// Moves its milestones there, which has to succeed.
fn move_there(workspace: &Workspace) {
    let said = bounded(workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
}

/// One whose milestones are there.
fn moved(server: &Postgres, database: &str) -> Workspace {
    let workspace = on_postgresql(server, database);
    move_there(&workspace);
    workspace
}

#[test]
fn d18_what_is_no_plain_table_and_what_others_functions_run_in_is_refused_by_name() {
    let server = Postgres::start();
    server.psql(
        "postgres",
        "CREATE ROLE neighbour LOGIN; CREATE ROLE readers; GRANT readers TO ada, neighbour; CREATE ROLE unasked; \
         GRANT unasked TO ada; GRANT unasked TO neighbour WITH ADMIN OPTION",
    );
    let table = "SET ROLE ada; CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP);";
    let function = "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('statement_timeout', \
                    '0', false); CREATE TABLE IF NOT EXISTS pwned (); RETURN new; END $$;";
    let plain = "CREATE FUNCTION plain() RETURNS text LANGUAGE sql AS $$ SELECT '{}' $$;";
    let cases = [
        ("a view", format!("{table} ALTER TABLE milestones RENAME TO t; CREATE VIEW milestones AS SELECT * FROM t")),
        ("theirs()", format!("{table} {function} CREATE TRIGGER t BEFORE INSERT ON milestones FOR EACH ROW EXECUTE FUNCTION theirs(); RESET ROLE; ALTER FUNCTION theirs() OWNER TO neighbour")),
        ("plain()", format!("{table} {plain} ALTER TABLE milestones ALTER created_at SET DEFAULT plain()::timestamp; RESET ROLE; ALTER FUNCTION plain() OWNER TO neighbour")),
        ("plain()", format!("{table} {plain} ALTER TABLE milestones ADD CHECK (plain() IS NOT NULL); RESET ROLE; ALTER FUNCTION plain() OWNER TO neighbour")),
        ("rules rewrite", format!("{table} CREATE TABLE o (id TEXT); CREATE RULE r AS ON INSERT TO milestones DO INSTEAD INSERT INTO o VALUES ('x')")),
        ("domain public.noted", format!("{table} {plain} CREATE DOMAIN noted AS text CHECK (plain() IS NOT NULL); ALTER TABLE milestones ADD COLUMN note noted; RESET ROLE; ALTER DOMAIN noted OWNER TO neighbour")),
        ("same(text,text)", format!("{table} CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = same); ALTER TABLE milestones ADD CONSTRAINT c CHECK (id === id); RESET ROLE; ALTER FUNCTION same(text, text) OWNER TO neighbour")),
        ("query_to_xml", format!("{table} ALTER TABLE milestones ADD COLUMN note xml DEFAULT query_to_xml('SELECT 1', true, false, '')")),
        ("theirs()", format!("SET ROLE ada; {function} CREATE TABLE milescale_texts (id TEXT PRIMARY KEY, text BYTEA NOT NULL, data_digest TEXT NOT NULL); CREATE TRIGGER t BEFORE INSERT ON milescale_texts FOR EACH ROW EXECUTE FUNCTION theirs(); RESET ROLE; ALTER FUNCTION theirs() OWNER TO neighbour")),
        ("theirs()", format!("{table} {function} CREATE TABLE kid () INHERITS (milestones); CREATE TRIGGER t BEFORE UPDATE ON kid FOR EACH ROW EXECUTE FUNCTION theirs(); RESET ROLE; ALTER FUNCTION theirs() OWNER TO neighbour")),
        ("constraint log_fkey of public.log", format!("{table} RESET ROLE; CREATE TABLE log (id TEXT CONSTRAINT log_fkey REFERENCES milestones (id) ON DELETE CASCADE); ALTER TABLE log OWNER TO neighbour")),
        ("table public.milescale_tokens belongs to neighbour", "CREATE TYPE odd AS ENUM ('x'); CREATE TABLE milescale_tokens (number BIGINT PRIMARY KEY, token odd, written TIMESTAMPTZ DEFAULT now()); GRANT ALL ON milescale_tokens TO ada; ALTER TABLE milescale_tokens OWNER TO neighbour".to_owned()),
        ("domain public.noted", format!("{table} {plain} CREATE DOMAIN noted AS text CHECK (plain() IS NOT NULL); CREATE TYPE pair AS (one noted); ALTER TABLE milestones ADD COLUMN note pair; RESET ROLE; ALTER DOMAIN noted OWNER TO neighbour")),
        ("record_in(cstring,oid,integer)", format!("{table} CREATE TYPE one_of AS (a text); ALTER TABLE milestones ADD COLUMN note text DEFAULT record_in('(1)', 'one_of'::regtype::oid, -1)::text; RESET ROLE; GRANT ALL ON milestones TO ada; ALTER TABLE milestones OWNER TO neighbour; GRANT neighbour TO ada")),
        ("pg_read_file(text)", format!("{table} RESET ROLE; ALTER TABLE milestones ADD COLUMN note text DEFAULT pg_read_file('x'); GRANT ALL ON milestones TO ada; ALTER TABLE milestones OWNER TO neighbour; GRANT neighbour TO ada")),
        ("part(text)", format!("SET ROLE ada; {plain} CREATE FUNCTION part(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT plain()'; CREATE TABLE milestones (id TEXT, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP) PARTITION BY LIST ((part(id))); CREATE TABLE one PARTITION OF milestones DEFAULT; RESET ROLE; ALTER FUNCTION part(text) OWNER TO neighbour")),
        ("constraint refers of public.milestones", format!("{table} RESET ROLE; CREATE TABLE plans (id TEXT PRIMARY KEY); ALTER TABLE plans OWNER TO neighbour; ALTER TABLE milestones ADD CONSTRAINT refers FOREIGN KEY (id) REFERENCES plans (id)")),
        ("constraint noted_fkey of public.noted", format!("{table} RESET ROLE; CREATE TABLE noted (id TEXT CONSTRAINT noted_fkey REFERENCES milestones (id)); ALTER TABLE noted OWNER TO neighbour")),
        ("function public.plain()", format!("{table} {plain} ALTER FUNCTION plain() IMMUTABLE; CREATE STATISTICS st ON (id || plain()), id FROM milestones; RESET ROLE; ALTER FUNCTION plain() OWNER TO neighbour")),
        ("type public.mood", format!("{table} CREATE TYPE mood AS ENUM ('x'); ALTER TABLE milestones ADD COLUMN mood mood; RESET ROLE; ALTER TYPE mood OWNER TO neighbour")),
        ("of which public.milestones is a part", "SET ROLE ada; CREATE TABLE above (id TEXT, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP) PARTITION BY LIST (id); CREATE TABLE milestones PARTITION OF above DEFAULT".to_owned()),
        ("part public.far is a foreign table", format!("{table} RESET ROLE; CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; GRANT USAGE ON FOREIGN SERVER far TO ada; SET ROLE ada; CREATE FOREIGN TABLE far () INHERITS (milestones) SERVER far")),
        ("function public.said(public.mood)", format!("{table} CREATE TYPE mood AS ENUM ('x'); CREATE FUNCTION said(mood) RETURNS json LANGUAGE sql AS $$ SELECT '1'::json $$; CREATE CAST (mood AS json) WITH FUNCTION said(mood); ALTER TABLE milestones ADD COLUMN note mood CHECK (to_jsonb(note) IS NOT NULL); RESET ROLE; ALTER FUNCTION said(mood) OWNER TO neighbour")),
        ("function public.theirs()", format!("{table} {function} CREATE TABLE kids (id TEXT REFERENCES milestones (id) ON DELETE CASCADE); CREATE TRIGGER t BEFORE DELETE ON kids FOR EACH ROW EXECUTE FUNCTION theirs(); RESET ROLE; ALTER FUNCTION theirs() OWNER TO neighbour")),
        ("rule r of public.kids", format!("{table} CREATE TABLE kids (id TEXT REFERENCES milestones (id) ON DELETE CASCADE); CREATE RULE r AS ON DELETE TO kids DO ALSO NOTIFY x")),
        ("table_to_xml", format!("{table} ALTER TABLE milestones ADD COLUMN note xml; ALTER TABLE milestones ALTER note SET DEFAULT table_to_xml('pg_class', true, false, '')")),
        ("pg_sleep(double precision)", format!("{table} ALTER TABLE milestones ADD COLUMN note text; ALTER TABLE milestones ALTER note SET DEFAULT pg_sleep(0)::text")),
        ("plain()", format!("{table} {plain} CREATE DOMAIN noted AS text DEFAULT plain(); ALTER TABLE milestones ADD COLUMN note noted; RESET ROLE; ALTER FUNCTION plain() OWNER TO neighbour")),
        ("an expression with XMLEXPR", format!("{table} ALTER TABLE milestones ADD CHECK (xmlforest(id) IS NOT NULL)")),
        ("lo_manage()", format!("{table} RESET ROLE; CREATE EXTENSION lo; SET ROLE ada; ALTER TABLE milestones ADD COLUMN note oid; CREATE TRIGGER t BEFORE UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION lo_manage(note)")),
        ("text search configuration public.words", format!("{table} CREATE TEXT SEARCH DICTIONARY theirs (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION words (COPY = simple); ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR word WITH theirs; ALTER TABLE milestones ADD CHECK (to_tsvector('words'::regconfig, id) IS NOT NULL); RESET ROLE; ALTER TEXT SEARCH CONFIGURATION words OWNER TO neighbour; ALTER TEXT SEARCH DICTIONARY theirs OWNER TO neighbour")),
        ("UNLOGGED", "SET ROLE ada; CREATE UNLOGGED TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP)".to_owned()),
        ("NO FORCE ROW LEVEL SECURITY", format!("{table} ALTER TABLE milestones ENABLE ROW LEVEL SECURITY; ALTER TABLE milestones FORCE ROW LEVEL SECURITY; CREATE POLICY p ON milestones USING (true)")),
        ("schema public belongs to neighbour", format!("{table} RESET ROLE; ALTER SCHEMA public OWNER TO neighbour; GRANT ALL ON SCHEMA public TO ada; DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO neighbour', current_database()); END $$")),
        ("function public.milescale_log()", format!("{table} {function} ALTER FUNCTION theirs() RENAME TO milescale_log; RESET ROLE; ALTER FUNCTION milescale_log() OWNER TO neighbour")),
        ("theirs() belongs to readers", format!("{table} {function} CREATE TRIGGER t BEFORE INSERT ON milestones FOR EACH ROW EXECUTE FUNCTION theirs(); RESET ROLE; ALTER FUNCTION theirs() OWNER TO readers")),
        ("theirs() belongs to unasked", format!("{table} {function} CREATE TRIGGER t BEFORE INSERT ON milestones FOR EACH ROW EXECUTE FUNCTION theirs(); RESET ROLE; ALTER FUNCTION theirs() OWNER TO unasked; GRANT ALL ON milestones TO ada; ALTER TABLE milestones OWNER TO unasked")),
        ("neighbour may put triggers on table public.kids", format!("{table} RESET ROLE; CREATE TABLE kids (id TEXT REFERENCES milestones (id) ON DELETE CASCADE); GRANT TRIGGER ON kids TO neighbour")),
        ("neighbour may put triggers on table public.milestones", format!("{table} RESET ROLE; GRANT TRIGGER ON milestones TO neighbour")),
        ("PUBLIC may put triggers on table public.milestones", format!("{table} GRANT TRIGGER ON milestones TO PUBLIC")),
        ("nextval(regclass)", format!("{table} CREATE SEQUENCE s; CREATE TRIGGER t BEFORE UPDATE ON milestones FOR EACH ROW WHEN (new.data::text LIKE '%a%' AND nextval('s') < 0) EXECUTE FUNCTION suppress_redundant_updates_trigger()")),
        ("triggered_change_notification()", format!("{table} RESET ROLE; CREATE EXTENSION tcn; SET ROLE ada; CREATE TRIGGER t AFTER UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION triggered_change_notification('x')")),
        ("a materialized view", "SET ROLE ada; CREATE MATERIALIZED VIEW milestones AS SELECT 'a'::text AS id, '{}'::jsonb AS data, now() AS created_at, now() AS updated_at".to_owned()),
    ];
    let refuses = |number: usize, (named, statements): &(&str, String)| {
        let database = format!("d18_{number}");
        let workspace = on_postgresql(&server, &database);
        server.psql(&database, statements);
        let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
        assert!(said.code == 1 && said.err.contains(named), "{named}: {said:?}");
        workspace.write("config/storage-backend.txt", "database\n");
        // The marker was just changed by hand, and is not followed before a check: nothing is written either way.
        assert_eq!(bounded(&workspace, &["milestone", "put", "m-9"]).code, 1);
        let said = bounded(&workspace, &["check"]);
        assert!(format!("{}{}", said.out, said.err).contains(named), "{named}: {said:?}");
        assert_eq!(server.psql(&database, "SELECT to_regclass('pwned') IS NULL").trim(), "t");
    };
    // `check` waits for two seconds, while the marker may still be written.
    let numbered: Vec<_> = cases.iter().enumerate().collect();
    for some in numbered.chunks(8) {
        std::thread::scope(|scope| {
            for &(number, case) in some {
                let refuses = &refuses;
                scope.spawn(move || refuses(number, case));
            }
        });
    }
    door(
        "D18",
        "a view, a materialized view, a rule; what is another user's in a trigger, a default, a check, an operator, a domain, a child, a cascade, a type of types, a partition, in milescale's own tables, or owns one of these; a reference in either direction, statistics, a table above it, a foreign part, a table whose rows go with it; what runs what a text says; an expression that is not known; a table that is not logged; a schema that another user may rename; functions of a group that owns no table, or that another user lets others into; triggers of who may not read, and those that tell others",
        "43 of 43 refused by name, none run",
    );
}

#[test]
fn what_people_have_in_a_table_is_no_reason_to_refuse_it() {
    let server = Postgres::start();
    let workspace = on_postgresql(&server, "rich");
    server.psql(
        "rich",
        "CREATE EXTENSION citext; CREATE EXTENSION \"uuid-ossp\"; CREATE EXTENSION btree_gist; CREATE EXTENSION pg_trgm; SET ROLE ada; \
         CREATE TYPE mood AS ENUM ('a', 'b'); CREATE DOMAIN place AS int DEFAULT 3 CHECK (value > 0); CREATE TYPE pair AS (one text, two mood); \
         CREATE FUNCTION own_default() RETURNS text LANGUAGE sql AS $$ SELECT 'x'::text $$; \
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$; \
         CREATE SEQUENCE codes; \
         CREATE TABLE milestones (id text PRIMARY KEY, data jsonb, created_at timestamp DEFAULT now(), \
           updated_at timestamptz DEFAULT clock_timestamp(), u uuid DEFAULT uuid_generate_v4(), v uuid DEFAULT gen_random_uuid(), \
           m mood DEFAULT 'a', p place, q pair, c citext CHECK (c <> 'x'), arr mood[], n serial, i int GENERATED ALWAYS AS IDENTITY, \
           words tsvector GENERATED ALWAYS AS (to_tsvector('english', coalesce(data ->> 'name', ''))) STORED, \
           tenant text DEFAULT CASE WHEN current_setting('a.b', true) IS NULL THEN 'x' ELSE upper('y') END, during tsrange, \
           who text DEFAULT current_user, own text DEFAULT own_default(), day date DEFAULT now() + interval '1 day', code text DEFAULT 'MS-' || nextval('codes'), \
           kept jsonb DEFAULT jsonb_build_object('version', 1), paid money DEFAULT 0, CHECK ((id, tenant) < ('zz', 'z')), \
           j jsonb CHECK (jsonb_typeof(j) = 'object' AND j ->> 'a' ~ 'x' AND j ? 'b' AND greatest(1, 2) = 2 AND tenant IN ('x', 'Y') \
             AND (arr[1] = 'a' OR array_length(arr, 1) BETWEEN 1 AND 4)), EXCLUDE USING gist (during WITH &&)); \
         CREATE INDEX ON milestones USING gin (data jsonb_path_ops); CREATE INDEX ON milestones USING gin ((data ->> 'name') gin_trgm_ops); \
         CREATE INDEX ON milestones (lower(id), date_trunc('day', created_at)) WHERE data IS NOT NULL; \
         CREATE STATISTICS st ON id, created_at FROM milestones; \
         CREATE TRIGGER after AFTER UPDATE ON milestones FOR EACH ROW WHEN (old.id IS DISTINCT FROM new.id) EXECUTE FUNCTION touch(); \
         CREATE TABLE kids (id text REFERENCES milestones (id) ON DELETE CASCADE, m mood); \
         CREATE TABLE states (name text PRIMARY KEY); ALTER TABLE milestones ADD COLUMN state text REFERENCES states (name); \
         CREATE VIEW read AS SELECT id FROM milestones; CREATE FUNCTION name_of(milestones) RETURNS text LANGUAGE sql AS 'SELECT $1.id'; \
         RESET ROLE; CREATE POLICY own ON milestones USING (true); CREATE PUBLICATION out FOR TABLE milestones; \
         ALTER TABLE milestones OWNER TO ada",
    );
    move_there(&workspace);
    assert_eq!(bounded(&workspace, &["check"]).code, 0);
    server.psql("rich", "SET ROLE ada; ALTER TABLE milestones ALTER own SET DEFAULT own_default() || 'y'");
    let said = bounded(&workspace, &["milestone", "put", "m-9"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn names_mean_the_servers_own_whatever_the_search_path_says() {
    let server = Postgres::start();
    let workspace = moved(&server, "paths");
    // A function of the same name in a schema that comes before the server's own, for every new session.
    server.psql(
        "paths",
        "CREATE SCHEMA evil; CREATE FUNCTION evil.octet_length(text) RETURNS int LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'pwned'; END $$; CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'pwned'; END $$; ALTER DATABASE paths SET search_path = evil, public, pg_catalog",
    );
    // And those that fit better than the server's own, for whoever looks for names there.
    for (name, types, returns) in [
        ("has_schema_privilege", "name, text", "boolean"),
        ("has_table_privilege", "regclass, text", "boolean"),
        ("quote_ident", "name", "text"),
    ] {
        server.psql(
            "paths",
            &format!("CREATE FUNCTION evil.{name}({types}) RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'pwned'; END $$"),
        );
    }
    server.psql("paths", "GRANT USAGE ON SCHEMA evil TO public");
    for arguments in [
        &["migrate", "file", "--dry-run"][..],
        &["milestone", "list"],
        &["milestone", "put", "m-9"],
        &["check"],
        &["milestone", "search", "m"],
    ] {
        let said = bounded(&workspace, arguments);
        assert!(said.code == 0 && !said.err.contains("pwned"), "{arguments:?}: {said:?}");
    }
    // The same where a move fills a table whose index calls a function of its owner's, which calls one by its name.
    let workspace = on_postgresql(&server, "filled");
    server.psql(
        "filled",
        "CREATE ROLE neighbour LOGIN; CREATE SCHEMA evil AUTHORIZATION neighbour; GRANT USAGE ON SCHEMA evil TO public; SET ROLE neighbour; \
         CREATE TABLE evil.ran (who name); GRANT INSERT ON evil.ran TO public; \
         CREATE FUNCTION evil.upper(v varchar) RETURNS text LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO evil.ran VALUES (current_user); RETURN pg_catalog.upper(v::text); END $$; RESET ROLE; ALTER DATABASE filled SET search_path = public, evil; SET search_path = public; \
         SET ROLE ada; CREATE FUNCTION norm(v varchar) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN upper(v); END $$; \
         CREATE TABLE milestones (id VARCHAR PRIMARY KEY, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP); \
         CREATE INDEX by_norm ON milestones (norm(id))",
    );
    move_there(&workspace);
    assert_eq!(server.psql("filled", "SELECT count(*) FROM evil.ran").trim(), "0", "the neighbour's function ran");
    let known = "SELECT reltuples::int FROM pg_class WHERE oid = 'milestones'::regclass";
    assert_eq!(server.psql("filled", known).trim(), "3", "it was analyzed");
    door("D18", "functions of the server's own names in a schema before it, also where a table is analyzed", "0 run");
}

#[test]
fn d18_a_trigger_that_comes_later_is_seen_by_each_transaction_that_writes() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE neighbour");
    let workspace = moved(&server, "later");
    let daemon = workspace.daemon(["--interval", "1"]);
    server.psql(
        "later",
        "GRANT USAGE, CREATE ON SCHEMA public TO neighbour; GRANT ALL ON milestones TO neighbour; SET ROLE neighbour; CREATE FUNCTION \
         later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE IF NOT EXISTS public.pwned (); RETURN new; END $$; CREATE \
         TRIGGER later BEFORE INSERT OR UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION later()",
    );
    // The daemon is connected, and has looked at the table before.
    workspace.save("active/m-0.yaml", "title: changed in its old file\n");
    milescale_testkit::until("what it says of it", || {
        let said = bounded(&workspace, &["milestone", "put", "m-1", "--if-match", "none"]);
        let told = format!("{}{}", daemon.log(), workspace.status());
        told.contains("function public.later() belongs to neighbour").then_some(said)
    });
    let said = bounded(&workspace, &["milestone", "put", "m-9"]);
    assert!(said.code == 1 && said.err.contains("later()") && said.err.contains("neighbour"), "{said:?}");
    assert_eq!(server.psql("later", "SELECT to_regclass('public.pwned') IS NULL"), "t");
    door("D18", "a trigger that comes while the daemon is connected", "not run");
}

/// What runs for whoever writes to the table runs with milescale's rights, for whoever calls it.
#[test]
fn the_function_of_the_log_writes_for_nobody_else() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE neighbour");
    let workspace = moved(&server, "log");
    let _daemon = workspace.daemon(["--interval", "1"]);
    let has_log = || {
        let select =
            "SELECT count(*) FROM pg_proc WHERE proname = 'milescale_log' AND prosrc LIKE '%pg_partition_root%'";
        (server.psql("log", select).trim() == "1").then_some(())
    };
    milescale_testkit::until("the daemon watches", has_log);
    let calls = "CREATE SCHEMA IF NOT EXISTS evil AUTHORIZATION neighbour; SET ROLE neighbour; DROP TABLE IF EXISTS evil.t, evil.milescale_changes; \
         CREATE TABLE evil.t (id text); CREATE TABLE evil.milescale_changes (id text); CREATE OR REPLACE FUNCTION evil.run() RETURNS trigger \
         LANGUAGE plpgsql AS $$ BEGIN UPDATE public.milestones SET data = '{}'; RETURN new; END $$; CREATE TRIGGER t BEFORE INSERT ON \
         evil.milescale_changes FOR EACH ROW EXECUTE FUNCTION evil.run()";
    server.psql("log", calls);
    let call = "DO $$ BEGIN SET ROLE neighbour; CREATE TRIGGER l AFTER INSERT ON evil.t FOR EACH ROW EXECUTE FUNCTION \
         public.milescale_log(); INSERT INTO evil.t VALUES ('x'); EXCEPTION WHEN insufficient_privilege THEN NULL; END $$";
    server.psql("log", call);
    assert_eq!(server.psql("log", "SELECT count(*) FROM milestones WHERE data = '{}'").trim(), "0");
    // Even for whoever was once allowed to call it.
    server.psql("log", "GRANT EXECUTE ON FUNCTION milescale_log() TO neighbour");
    server.psql("log", call);
    assert_eq!(server.psql("log", "SELECT count(*) FROM milestones WHERE data = '{}'").trim(), "0");
    // That of an older milescale is replaced.
    server.psql(
        "log",
        "SET ROLE ada; CREATE OR REPLACE FUNCTION milescale_log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN EXECUTE \
         format('INSERT INTO %I.milescale_changes (id) VALUES (NULL)', TG_TABLE_SCHEMA); RETURN NULL; END $$",
    );
    milescale_testkit::until("it is replaced", has_log);
    // And it goes on doing what it is for.
    server.psql("log", "INSERT INTO milestones VALUES ('by-a-shell', '{\"title\": \"x\"}', now(), now())");
    milescale_testkit::until("the row is seen", || {
        (server.psql("log", "SELECT count(*) FROM milescale_changes WHERE id = 'by-a-shell'").trim() == "1")
            .then_some(())
    });
    door("D18", "the function of the log of changes, called for a table of a neighbour's", "nothing run");
}

/// The log's function runs with its owner's rights at every write of everybody's: milescale's own look at the tables comes too late.
#[test]
fn the_function_of_the_log_runs_nothing_of_whoever_writes() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE neighbour");
    let workspace = moved(&server, "runs");
    assert_eq!(bounded(&workspace, &["check"]).code, 0);
    server.psql(
        "runs",
        "GRANT USAGE, CREATE ON SCHEMA public TO neighbour; GRANT ALL ON ALL TABLES IN SCHEMA public TO neighbour",
    );
    let all = "DO $$ BEGIN SET ROLE neighbour; ";
    let write = "UPDATE public.milestones SET updated_at = now(); EXCEPTION WHEN raise_exception OR insufficient_privilege THEN NULL; END $$";
    // A trigger on the log itself.
    let trigger = "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN CREATE TABLE IF NOT EXISTS \
                   public.pwned (); RETURN new; END $f$; CREATE TRIGGER t BEFORE INSERT ON public.milescale_changes FOR EACH ROW EXECUTE \
                   FUNCTION public.theirs(); ";
    server.psql("runs", &format!("{all}{trigger}{write}"));
    assert_eq!(server.psql("runs", "SELECT to_regclass('public.pwned') IS NULL").trim(), "t");
    // Ids of a type whose conversion is his.
    server.psql(
        "runs",
        "DROP TRIGGER IF EXISTS t ON milescale_changes; CREATE TYPE odd AS (it text); CREATE FUNCTION plain(odd) RETURNS text LANGUAGE \
         plpgsql AS $f$ BEGIN CREATE TABLE IF NOT EXISTS public.pwned (); RETURN 'x'; END $f$; CREATE CAST (odd AS text) WITH FUNCTION \
         plain(odd) AS ASSIGNMENT; GRANT ALL ON FUNCTION plain(odd) TO PUBLIC; ALTER TABLE milestones DROP COLUMN milescale_active CASCADE, \
         DROP COLUMN milescale_kiro, DROP COLUMN milescale_requires, DROP CONSTRAINT milestones_pkey; DROP INDEX IF EXISTS milescale_flawed; \
         ALTER TABLE milestones ALTER id TYPE odd USING ROW(id)::odd; GRANT ALL ON milestones TO neighbour",
    );
    server.psql("runs", &format!("{all}{write}"));
    assert_eq!(server.psql("runs", "SELECT to_regclass('public.pwned') IS NULL").trim(), "t");
    let told = server.psql("runs", "SELECT count(*) > 0 FROM milescale_changes WHERE id IS NULL");
    assert_eq!(told.trim(), "t", "that something was written is told");
    door(
        "D18",
        "a trigger on the log of changes, and ids of a type with a conversion of a neighbour's, at a write of his own",
        "not run",
    );
}

#[test]
fn a_session_that_begins_as_somebody_else_is_refused() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE neighbour; ALTER ROLE ada SUPERUSER");
    let workspace = on_postgresql(&server, "roles");
    server.psql("roles", "ALTER DATABASE roles SET role = neighbour; GRANT ALL ON SCHEMA public TO neighbour");
    let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    assert!(said.code == 1 && said.err.contains("the session of ada is one of neighbour"), "{said:?}");
    door("D18", "a database whose owner lets sessions begin as himself", "refused");
}

#[test]
fn what_another_database_begins_its_sessions_as_is_its_own() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE neighbour; CREATE ROLE plans_owner; GRANT plans_owner TO ada");
    server.psql("postgres", "CREATE DATABASE his");
    let workspace = on_postgresql(&server, "roles");
    server.psql(
        "roles",
        "ALTER ROLE ada IN DATABASE roles SET role = plans_owner; ALTER DATABASE his SET role = neighbour",
    );
    server.psql("roles", "ALTER SCHEMA public OWNER TO plans_owner");
    move_there(&workspace);
}

/// A name in a trigger means what it meant to whoever wrote it, or nothing.
#[test]
fn a_trigger_looks_for_names_in_its_owners_schemas_in_their_order() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE team; GRANT team TO ada; CREATE ROLE eve LOGIN");
    let workspace = on_postgresql(&server, "names");
    let noted = "CREATE TABLE audit (id TEXT); CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP, \
                 updated_at TIMESTAMP); CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (id) \
                 VALUES (new.id); RETURN NULL; END $$; CREATE TRIGGER noted AFTER INSERT OR UPDATE ON milestones FOR EACH ROW EXECUTE \
                 FUNCTION noted()";
    // Of a role that users share, as well as of one's own.
    server.psql(
        "names",
        &format!("ALTER SCHEMA public OWNER TO team; GRANT CREATE ON DATABASE names TO team; SET ROLE team; {noted}"),
    );
    server.psql("names", "SET ROLE team; CREATE SCHEMA shared; CREATE TABLE shared.audit (id TEXT); RESET ROLE; ALTER DATABASE names SET search_path = public, shared");
    move_there(&workspace);
    let count = |table: &str| server.psql("names", &format!("SELECT count(*) FROM {table}")).trim().to_owned();
    assert_eq!((count("public.audit"), count("shared.audit")), ("3".into(), "0".into()));
    // Where others may put something into the first one, nothing goes to the second.
    server.psql("names", "GRANT USAGE, CREATE ON SCHEMA public TO eve");
    let said = bounded(&workspace, &["milestone", "put", "new"]);
    assert!(said.code != 0 && said.err.contains("let it say the schema too"), "{said:?}");
    assert_eq!((count("public.audit"), count("shared.audit")), ("3".into(), "0".into()));
    server.psql("names", "REVOKE CREATE ON SCHEMA public FROM eve");
    assert_eq!(bounded(&workspace, &["milestone", "put", "new"]).code, 0);
    assert_eq!((count("public.audit"), count("shared.audit")), ("4".into(), "0".into()));
    door(
        "D18",
        "a trigger that names a table, where others may write into the schema before",
        "refused; no other table",
    );
}

#[test]
fn rows_too_large_are_named_and_stop_no_other() {
    let server = Postgres::start();
    let workspace = moved(&server, "large");
    server.psql(
        "large",
        "INSERT INTO milestones SELECT 'large', jsonb_build_object('note', repeat('x', 40000000)), now(), now(); INSERT INTO milestones \
         SELECT 'title', jsonb_build_object('title', repeat('y', 9000000)), now(), now()",
    );
    let said = bounded(&workspace, &["milestone", "list"]);
    let listed = ["large", "m-0", "title"].iter().all(|id| said.out.contains(&format!("{id}  ")));
    assert!(said.code == 0 && listed, "{}", said.err);
    assert!(bounded(&workspace, &["milestone", "show", "large"]).err.contains("larger than a milestone may be"));
    assert_eq!(bounded(&workspace, &["milestone", "put", "m-7"]).code, 0);
    let said = bounded(&workspace, &["migrate", "file", "--dry-run"]);
    assert!(
        said.code == 1 && said.out.contains("row \"large\"") && !said.out.contains("connection closed"),
        "{said:?}"
    );
    door("D12", "a row of 40 MB in PostgreSQL", "named; all others are read");
}

/// Who may make tables in a schema need not have the right to make one.
#[test]
fn a_schema_that_is_there_is_not_made() {
    let server = Postgres::start();
    let workspace = on_postgresql(&server, "made");
    server.psql("made", "CREATE SCHEMA plans; GRANT ALL ON SCHEMA plans TO ada; ALTER DATABASE made OWNER TO postgres; REVOKE CREATE ON DATABASE made FROM public");
    let config = workspace.read("config/storage-config.yaml").replace("{type:", "{schema: plans, type:");
    workspace.write("config/storage-config.yaml", config);
    move_there(&workspace);
}

/// What is looked at stays so until the transaction ends: a lock comes before the look.
#[test]
fn what_comes_between_the_look_and_the_write_is_seen() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE neighbour");
    for (database, table, isolation) in [
        ("between", "milestones", "read committed"),
        ("serial", "milestones", "serializable"),
        ("logged", "milescale_changes", "read committed"),
    ] {
        comes_between(&server, database, table, isolation);
    }
    door(
        "D18",
        "a trigger that comes while a write waits for the table, under each isolation level, on milescale's own too",
        "not run",
    );
}

/// Somebody's trigger comes to a table while a write waits for it.
fn comes_between(server: &Postgres, database: &str, table: &str, isolation: &str) {
    let workspace = moved(server, database);
    // The log is made once somebody watches.
    assert_eq!(bounded(&workspace, &["check"]).code, 0);
    server.psql("postgres", &format!("ALTER DATABASE {database} SET default_transaction_isolation = '{isolation}'"));
    server.psql(
        database,
        "GRANT USAGE, CREATE ON SCHEMA public TO neighbour; GRANT ALL ON ALL TABLES IN SCHEMA public TO neighbour",
    );
    let function = "SET ROLE neighbour; CREATE FUNCTION betwixt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE IF NOT \
                    EXISTS public.pwned (); RETURN new; END $$";
    server.psql(database, function);
    // He keeps writers out until one waits, and leaves his trigger behind.
    let lock = format!(
        "SET ROLE neighbour; BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE; DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks \
         WHERE relation = '{table}'::regclass AND NOT granted) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$; CREATE \
         TRIGGER betwixt BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION betwixt(); COMMIT"
    );
    let said = std::thread::scope(|scope| {
        scope.spawn(|| server.psql(database, &lock));
        milescale_testkit::until("the lock", || {
            let held = format!(
                "SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND mode = 'ExclusiveLock'"
            );
            (server.psql(database, &held).trim() == "1").then_some(())
        });
        bounded(&workspace, &["milestone", "put", "m-9"])
    });
    assert!(said.code == 1 && said.err.contains("betwixt() belongs to neighbour"), "{said:?}");
    assert_eq!(server.psql(database, "SELECT to_regclass('public.pwned') IS NULL").trim(), "t");
}

#[test]
fn what_comes_back_from_a_server_is_for_those_who_could_read_what_went_there() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let server = Postgres::start();
    for (number, to) in ["file", "hybrid", "sqlite"].into_iter().enumerate() {
        let workspace = on_postgresql(&server, &format!("back_{number}"));
        let config = workspace.read("config/storage-config.yaml");
        workspace.write("config/storage-config.yaml", format!("{config}  migration: {{files_after: retire}}\n"));
        let mode = |path: &str| std::fs::metadata(workspace.path(path)).unwrap().mode() & 0o777;
        for name in ["m-0", "m-1", "m-2"] {
            let path = workspace.path(format!("active/{name}.yaml"));
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let back: &[&str] =
            if to == "sqlite" { &["migrate", "database", "--engine", to, "--yes"] } else { &["migrate", to, "--yes"] };
        for arguments in [&["migrate", "database", "--engine", "postgresql", "--yes"][..], back] {
            let said = bounded(&workspace, arguments);
            assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        }
        let made = if to == "sqlite" { "enterprise.db" } else { "active/m-0.yaml" };
        assert_eq!(mode(made), 0o600, "{to}");
    }
    door(
        "D8",
        "private files, retired after a move to PostgreSQL, and moves back to each store",
        "0 copies that others may read",
    );
}

#[test]
fn milescales_own_tables_are_for_nobody_who_may_not_read_the_milestones() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE reporter; CREATE ROLE reader");
    let workspace = on_postgresql(&server, "defaults");
    server.psql(
        "defaults",
        "SET ROLE ada; CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP); \
         GRANT SELECT ON milestones TO reader; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reporter, reader, PUBLIC; \
         ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC",
    );
    move_there(&workspace);
    let may = |role: &str| {
        let select = format!(
            "SELECT count(*) FROM pg_class WHERE relname LIKE 'milescale!_%' ESCAPE '!' AND relkind = 'r' \
             AND has_table_privilege('{role}', oid, 'SELECT')"
        );
        server.psql("defaults", &select).trim().to_owned()
    };
    assert_eq!(may("reporter"), "0");
    assert_ne!(may("reader"), "0", "who may read the milestones may read what a DBA gives");
    let writes = "SELECT count(*) FROM pg_class WHERE relname LIKE 'milescale!_%' ESCAPE '!' AND CASE relkind WHEN 'S' THEN \
                  has_sequence_privilege('reader', oid, 'UPDATE') WHEN 'r' THEN has_table_privilege('reader', oid, \
                  'INSERT, UPDATE, DELETE, TRUNCATE') END";
    let nobody_writes = || {
        assert_eq!(server.psql("defaults", writes).trim(), "0", "what milescale takes for current is its own to write");
    };
    nobody_writes();
    // What was given on by somebody goes as well; and a log that others have blinded is made anew.
    server.psql(
        "defaults",
        "GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO reader WITH GRANT OPTION; SET ROLE reader; GRANT SELECT ON milescale_texts TO \
         reporter; SET ROLE ada; CREATE OR REPLACE TRIGGER milescale_log AFTER DELETE ON milestones FOR EACH ROW WHEN (false) EXECUTE \
         FUNCTION milescale_log()",
    );
    assert_eq!(bounded(&workspace, &["milestone", "put", "first"]).code, 0);
    assert_eq!(may("reporter"), "0");
    nobody_writes();
    assert_eq!(bounded(&workspace, &["check"]).code, 0);
    let log = "SELECT tgtype, tgqual IS NULL FROM pg_trigger WHERE tgname = 'milescale_log'";
    assert_eq!(server.psql("defaults", log).trim(), "29|t");
    // And no longer than that.
    server.psql("defaults", "REVOKE SELECT ON milestones FROM reader CASCADE");
    assert_eq!(bounded(&workspace, &["milestone", "put", "new"]).code, 0);
    assert_eq!(may("reader"), "0");
    // The same where row-level security comes later.
    server.psql("defaults", "ALTER TABLE milestones ENABLE ROW LEVEL SECURITY");
    assert_eq!(bounded(&workspace, &["milestone", "put", "newer"]).code, 0);
    let hiding =
        "SELECT bool_and(relrowsecurity) FROM pg_class WHERE relname LIKE 'milescale!_%' ESCAPE '!' AND relkind = 'r'";
    assert_eq!(server.psql("defaults", hiding).trim(), "t");
    door(
        "D18",
        "a schema that gives its new tables to a role that may not read the milestones, or may not any more",
        "0 of milescale's own",
    );
}

#[test]
fn milescales_own_tables_show_no_row_that_a_policy_of_the_milestones_hides() {
    let server = Postgres::start();
    server.psql("postgres", "CREATE ROLE one LOGIN; CREATE ROLE all_of_it LOGIN; GRANT pg_read_all_data TO all_of_it");
    let workspace = on_postgresql(&server, "hidden");
    server.psql(
        "hidden",
        "SET ROLE ada; CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP); \
         ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO one; GRANT SELECT ON milestones TO one; \
         ALTER TABLE milestones ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON milestones FOR SELECT USING (id = 'm-0')",
    );
    move_there(&workspace);
    let said = bounded(&workspace, &["milestone", "archive", "m-1"]);
    assert_eq!(said.code, 0, "{said:?}");
    let tables = server.psql(
        "hidden",
        "SELECT string_agg(oid::regclass::text, ' ') FROM pg_class WHERE relkind = 'r' AND \
         relname LIKE 'milescale!_%' ESCAPE '!' AND relname <> 'milescale_meta'",
    );
    let mut rows = 0;
    for table in tables.split_whitespace() {
        for role in ["one", "all_of_it"] {
            let seen = server.psql("hidden", &format!("SET ROLE {role}; SELECT count(*) FROM {table}"));
            assert_eq!(seen.lines().last(), Some("0"), "{role} reads {table}");
        }
        rows += server.psql("hidden", &format!("SELECT count(*) FROM {table}")).trim().parse::<u32>().unwrap();
    }
    assert!(rows > 3, "the tables hold something: {rows}");
    assert_eq!(server.psql("hidden", "SET ROLE one; SELECT count(*) FROM milestones").lines().last(), Some("1"));
    assert_eq!(bounded(&workspace, &["check"]).code, 0, "their owner goes on");
    door(
        "D18",
        "milestones with row-level security, a role that the schema gives its new tables to, one that reads all data",
        "0 rows of milescale's own",
    );
}

#[test]
fn users_who_share_a_role_share_the_tables() {
    let server = Postgres::start();
    server.psql(
        "postgres",
        "CREATE ROLE team; GRANT team TO ada; CREATE ROLE bob LOGIN IN ROLE team; CREATE ROLE eve LOGIN",
    );
    let workspace = moved(&server, "shared");
    let url = workspace.read("config/storage-config.yaml");
    let count = std::cell::Cell::new(0);
    let as_user = |user: &str| {
        let text = url.replace("ada", user);
        assert_ne!(text, url);
        workspace.write("config/storage-config.yaml", text);
        count.set(count.get() + 1);
        bounded(&workspace, &["milestone", "put", &format!("of-{user}-{}", count.get())])
    };
    let give = |role: &str| {
        server.psql(
            "shared",
            &format!(
                "DO $$ DECLARE t text; BEGIN FOR t IN SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relnamespace = \
                 'public'::regnamespace LOOP EXECUTE format('ALTER TABLE %s OWNER TO {role}', t); END LOOP; \
                 FOR t IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace LOOP \
                 EXECUTE format('ALTER FUNCTION %s OWNER TO {role}', t); END LOOP; END $$; \
                 ALTER SCHEMA public OWNER TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO bob, eve, ada; \
                 GRANT ALL ON SCHEMA public TO bob, eve, ada"
            ),
        )
    };
    give("team");
    let said = as_user("bob");
    assert_eq!(said.code, 0, "{said:?}");
    // Somebody else may let others in: refused, but for who could become the user anyway, as who has made it on a managed server.
    server.psql("shared", "CREATE ROLE dba LOGIN; GRANT team TO dba WITH ADMIN OPTION");
    let said = as_user("bob");
    assert!(said.code != 0 && said.err.contains("for which nobody else has ADMIN OPTION"), "{said:?}");
    server.psql("shared", "GRANT bob TO dba WITH ADMIN OPTION");
    let said = as_user("bob");
    assert_eq!(said.code, 0, "{said:?}");
    // Who is not in it is refused; so is everybody else where the owner may log in.
    let said = as_user("eve");
    assert!(said.code != 0 && said.err.contains("belongs to team"), "{said:?}");
    give("eve");
    let said = as_user("bob");
    assert!(
        said.code != 0 && said.err.contains("to a role without login that all who share it are members of"),
        "{said:?}"
    );
    door("D18", "tables of a role without login that users share, and of another user", "used by its members; refused");
}

#[test]
fn the_name_of_an_index_is_no_statement() {
    let server = Postgres::start();
    let workspace = on_postgresql(&server, "names");
    server.psql(
        "names",
        "SET ROLE ada; CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP, updated_at TIMESTAMP); \
         CREATE INDEX \"a USING btree(id);CREATE TABLE pwned ();--\" ON milestones (created_at); \
         CREATE UNIQUE INDEX \"plain one\" ON milestones (id, updated_at)",
    );
    for last in ["--dry-run", "--yes"] {
        let said = bounded(&workspace, &["migrate", "database", "--engine", "postgresql", last]);
        assert_eq!(said.code, 0, "{last}: {said:?}");
        let is_made = "SELECT count(*) FROM pg_class WHERE relname = 'pwned'";
        assert_eq!(server.psql("names", is_made).trim(), "0", "{last}");
    }
    door("D18", "an index whose name goes on with a statement; a plan and a move", "0 run");
}

#[test]
fn a_configuration_that_its_folder_keeps_private_stays_so_when_it_is_exchanged() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let server = Postgres::start();
    let workspace = on_postgresql(&server, "exchanged");
    let config = workspace.read("config/storage-config.yaml");
    workspace
        .write("config/storage-config.yaml", config.replace("type: postgresql", "type: sqlite") + "# PRIVATE-TEXT\n");
    for (path, mode) in [("config/storage-config.yaml", 0o644), ("config", 0o700)] {
        std::fs::set_permissions(workspace.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    move_there(&workspace);
    let displaced: Vec<_> = std::fs::read_dir(workspace.path(".milescale/displaced"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.to_str().unwrap().ends_with(".storage-config"))
        .collect();
    assert_eq!(displaced.len(), 1, "{displaced:?}");
    assert!(std::fs::read_to_string(&displaced[0]).unwrap().contains("PRIVATE-TEXT"));
    assert_eq!(std::fs::metadata(&displaced[0]).unwrap().mode() & 0o077, 0);
    door(
        "D8",
        "a configuration of mode 0644 in a folder of mode 0700, exchanged by a switch of engines",
        "kept with mode 0600",
    );
}

/// What runs when rows are written is nobody's matter who may not write. What runs when they are read is, and so is all once he may.
#[test]
fn who_may_only_read_reads_beside_what_others_run_at_a_write() {
    let server = Postgres::start();
    let workspace = moved(&server, "only_read");
    server.psql(
        "only_read",
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; SET ROLE ada; \
         CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE pwned (); RETURN new; END $$; \
         CREATE TRIGGER t BEFORE INSERT OR UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION theirs()",
    );
    let configuration = workspace.read("config/storage-config.yaml");
    assert!(configuration.contains("//ada"), "{configuration}");
    workspace.write("config/storage-config.yaml", configuration.replace("//ada", "//reader"));
    let list = || bounded(&workspace, &["milestone", "list"]);
    let reads = || list().out.lines().count() == 3;
    assert!(reads(), "{:?}", list());
    let put = || crate::milestones::put(&workspace, &["m-9"], "title: new\n");
    let is_refused = |said: &milescale_testkit::Said, what: &str| said.code == 1 && said.err.contains(what);
    assert!(is_refused(&put(), "milescale_log()"), "{:?}", put());
    let said = bounded(&workspace, &["doctor"]);
    let ways =
        ["reader has not the right to INSERT, UPDATE there", "a role without login", "let reader be one of them"];
    assert!(ways.iter().all(|it| said.out.contains(it)) && !said.out.contains("GRANT INSERT"), "{said:?}");

    server.psql("only_read", "GRANT UPDATE (updated_at) ON milestones TO reader");
    assert!(is_refused(&list(), "milescale_log()"), "{:?}", list());
    server.psql("only_read", "REVOKE UPDATE (updated_at) ON milestones FROM reader");
    assert!(reads(), "{:?}", list());
    server.psql(
        "only_read",
        "SET ROLE ada; CREATE FUNCTION folded(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$; \
         CREATE INDEX i ON milestones (folded('x'))",
    );
    assert!(is_refused(&list(), "folded(text)"), "{:?}", list());
    server.psql("only_read", "DROP INDEX i");
    assert!(reads() && is_refused(&put(), "milescale_log()"));
    assert_eq!(server.psql("only_read", "SELECT to_regclass('pwned') IS NULL").trim(), "t");
}

/// What is deferred to COMMIT comes too late to be read back, and no time-out holds there; and whose a function is may change meanwhile.
#[test]
fn deferred_triggers_and_functions_that_change_hands_are_seen() {
    let server = Postgres::start();
    let workspace = moved(&server, "deferred");
    let trigger = |body: &str| {
        format!(
            "SET ROLE ada; CREATE OR REPLACE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$; \
             DROP TRIGGER IF EXISTS t ON milestones; CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON milestones DEFERRABLE \
             INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION back()"
        )
    };
    server.psql(
        "deferred",
        &trigger(
            "UPDATE milestones SET data = '{\"title\": \"other\"}' WHERE id = NEW.id AND data ->> 'title' = 'new';",
        ),
    );
    let said = crate::milestones::put(&workspace, &["m-9"], "title: new\n");
    assert!(said.code == 1 && said.err.contains("a trigger of the table has made something else of it"), "{said:?}");
    server.psql("deferred", &trigger("PERFORM pg_sleep(3600);"));
    let began = std::time::Instant::now();
    let said = crate::milestones::put(&workspace, &["m-8"], "title: new\n");
    assert!(said.code == 1 && said.err.contains("statement timeout"), "{said:?}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(
        server
            .psql("deferred", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'ada'")
            .trim(),
        "0"
    );
    // A function of a superuser's, which becomes a neighbour's while a daemon is connected.
    server.psql(
        "deferred",
        "DROP TRIGGER t ON milestones; CREATE ROLE elder SUPERUSER; CREATE ROLE heir LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO heir; SET ROLE elder; \
         CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; RESET ROLE; \
         CREATE TRIGGER audit BEFORE UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION audit()",
    );
    workspace.save("active/m-1.yaml", "title: by the old way\n");
    let daemon = workspace.daemon(["--interval", "86400"]);
    daemon.until("milestone_count", 4);
    server.psql(
        "deferred",
        "ALTER FUNCTION audit() OWNER TO heir; SET ROLE heir; CREATE OR REPLACE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN CREATE TABLE pwned (); RETURN NEW; END $$",
    );
    workspace.save("active/m-0.yaml", "title: by the old way, later\n");
    milescale_testkit::until("it is refused", || daemon.published().to_string().contains("audit()").then_some(()));
    assert_eq!(server.psql("deferred", "SELECT to_regclass('pwned') IS NULL").trim(), "t");
    door(
        "D18",
        "a deferred trigger that alters, and one without end; a function that becomes another user's",
        "told; bounded; not run",
    );
}

/// What a session's time zone is says nothing of an instant.
#[test]
fn instants_are_in_utc_whatever_the_time_zone_of_the_database() {
    let server = Postgres::start();
    let workspace = on_postgresql(&server, "zoned");
    server.psql(
        "zoned",
        "SET ROLE ada; CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMPTZ, updated_at TIMESTAMPTZ)",
    );
    move_there(&workspace);
    server.psql("zoned", "INSERT INTO milestones VALUES ('other', '{}', '2020-01-01 12:00+00', '2020-01-01 12:00+00')");
    let exported = bounded(&workspace, &["milestone", "export"]).out;
    let other = exported.lines().find(|line| line.contains("\"other\"")).unwrap();
    assert!(other.contains("2020-01-01T12:00:00Z"), "{other}");
    let said = crate::milestones::put(&workspace, &["m-9"], "title: new\n");
    assert_eq!(said.code, 0, "{said:?}");
    let near = "SELECT abs(extract(epoch FROM now() - updated_at)) < 600 FROM milestones WHERE id = 'm-9'";
    assert_eq!(server.psql("zoned", near).trim(), "t");
}
