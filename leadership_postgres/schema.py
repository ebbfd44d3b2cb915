"""The tables and functions of a PostgreSQL store, as SQL that is applied once.

Each change of an entry is one call of a function, so it is one statement and one transaction, in which
the row is locked before it is read. The names of the functions end with their version: a later release
adds functions beside those that older programs go on to call.

Revisions are values of a sequence. A sequence is not transactional: of two transactions, the one with the
smaller value may commit last. So a function takes the value only after it holds the lock of the key, and
keeps that lock until it has committed: the revisions of one key grow in the order of the commits, and so
do the tokens of one election, which are revisions of its claim. A write that begins after another one was
answered gets a larger value, whatever its key, because the sequence itself never goes back. Two writes of
different keys that overlap are in no order, and nothing here depends on one: watches read states again,
and never ask for "all revisions above".

A key that does not exist has no row to lock. So the lock of a key is an advisory lock of the transaction,
by a hash of the key; two keys with the same hash wait for each other, and nothing else happens.
"""

from __future__ import annotations

import re

from leadership_core.backend import ConfigurationError, claim_key

__all__ = ["DEFAULT_SCHEMA", "channel_of", "quoted", "schema_sql"]

DEFAULT_SCHEMA = "leadership"

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,48}")
_MOST_BYTES = 48  # of a schema's name; PostgreSQL cuts names at 63, and the channel's is longer


def quoted(name: str) -> str:
    """Return an identifier in double quotes.

    Raises:
        ConfigurationError: it cannot be the name of a schema.
    """
    if not _NAME.fullmatch(name) or len(name.encode()) > _MOST_BYTES or name.startswith("pg_"):
        raise ConfigurationError(
            f"the schema {name!r:.60} is not a name of up to {_MOST_BYTES} bytes without control characters "
            "that does not begin with pg_"
        )
    return '"' + name.replace('"', '""') + '"'


def channel_of(schema: str) -> str:
    """Return the name of the channel on which changes in a schema are notified."""
    return f"leadership:{schema}"


def schema_sql(schema: str = DEFAULT_SCHEMA) -> str:
    """Return the SQL that makes the tables and functions of a store; it may be applied repeatedly.

    A store applies it itself at its first use. Where its user may not create a schema, an administrator
    applies it beforehand, and grants what the documentation lists.

    Args:
        schema: the name of the schema, as the option `schema` of the URL has it.

    Raises:
        ConfigurationError: it cannot be the name of a schema.

    Example:
        >>> print(schema_sql().splitlines()[0])
        BEGIN;
    """
    name = quoted(schema)
    text = _SQL.replace("{schema}", name)
    text = text.replace("{suffix}", claim_key(""))
    return text.replace("{literal}", _literal(name)).replace(
        "{channel}", _literal(channel_of(schema))
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# A backslash in a literal is plain text there: the script sets standard_conforming_strings first.
_SQL = r"""BEGIN;
SET LOCAL standard_conforming_strings = on;
SET LOCAL client_min_messages = warning;
-- One process at a time: two that create a schema at once get an error of the catalogue.
SELECT pg_advisory_xact_lock(hashtext('leadership'), hashtext({literal}));

DO $do$ BEGIN
  IF to_regnamespace({literal}) IS NULL THEN
    CREATE SCHEMA {schema};
  END IF;
END $do$;

CREATE SEQUENCE IF NOT EXISTS {schema}.revision AS bigint NO CYCLE CACHE 1;

CREATE TABLE IF NOT EXISTS {schema}.entry (
  key text COLLATE "C" PRIMARY KEY,
  value bytea NOT NULL,
  revision bigint NOT NULL,
  session text COLLATE "C"
);
CREATE INDEX IF NOT EXISTS entry_session ON {schema}.entry (session) WHERE session IS NOT NULL;

-- beat: changes with each renewal. bound: it has had an entry, which ends by the server's clock (expired).
CREATE TABLE IF NOT EXISTS {schema}.session (
  id text COLLATE "C" PRIMARY KEY,
  ttl double precision NOT NULL,
  beat text COLLATE "C" NOT NULL,
  bound boolean NOT NULL DEFAULT false,
  expired boolean NOT NULL DEFAULT false,
  renewed timestamptz NOT NULL
) WITH (fillfactor = 50);

-- At the beginning of each write. The commit has to be on disk (and on the synchronous standbys) before it
-- is answered: one that a crash takes back would give a term back. It applies to the whole transaction.
CREATE OR REPLACE FUNCTION {schema}.begin_1(p_wait integer) RETURNS void
LANGUAGE plpgsql AS $f$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'leadership needs the isolation level read committed' USING ERRCODE = 'LD002';
  END IF;
  IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  PERFORM set_config('lock_timeout', p_wait::text, true);
END $f$;

CREATE OR REPLACE FUNCTION {schema}.is_due_1(p_session {schema}.session) RETURNS boolean
LANGUAGE sql AS $f$
  SELECT p_session.expired OR (p_session.bound
    AND clock_timestamp() > p_session.renewed + make_interval(secs => p_session.ttl))
$f$;

-- Delete the entries of a session.
CREATE OR REPLACE FUNCTION {schema}.drop_entries_1(p_session text) RETURNS void
LANGUAGE plpgsql AS $f$
DECLARE v_key text;
BEGIN
  FOR v_key IN DELETE FROM {schema}.entry WHERE session = p_session RETURNING key LOOP
    PERFORM pg_notify({channel}, 'k:' || v_key);
  END LOOP;
END $f$;

-- End the entries of a session whose time has passed by the server's clock; its elections go on.
CREATE OR REPLACE FUNCTION {schema}.expire_1(p_session text, p_wait integer) RETURNS text
LANGUAGE plpgsql AS $f$
DECLARE v_session {schema}.session;
BEGIN
  PERFORM {schema}.begin_1(p_wait);
  SELECT * INTO v_session FROM {schema}.session WHERE id = p_session FOR UPDATE;
  IF FOUND THEN
    IF NOT {schema}.is_due_1(v_session) THEN
      RETURN 'alive';
    END IF;
    UPDATE {schema}.session SET expired = true WHERE id = p_session;
  END IF;
  PERFORM {schema}.drop_entries_1(p_session);
  RETURN 'expired';
END $f$;

-- The session in a claim: "leadership/1 EPOCH CLAIM SESSION", and then the value of the candidate behind a line feed.
CREATE OR REPLACE FUNCTION {schema}.session_of_1(p_record bytea) RETURNS text
LANGUAGE sql AS $f$
  SELECT split_part(encode(substring(p_record for greatest(position('\x0a'::bytea in p_record), 1) - 1), 'escape'), ' ', 4)
$f$;

-- Whether a term leads: its token is the revision of the claim, and the session in the claim is not over.
-- Until the transaction has ended, no other candidate can take over the claim.
CREATE OR REPLACE FUNCTION {schema}.holds_1(p_key text, p_token bigint) RETURNS boolean
LANGUAGE plpgsql AS $f$
DECLARE v_record bytea;
BEGIN
  SELECT value INTO v_record FROM {schema}.entry
    WHERE key = p_key || '{suffix}' AND revision = p_token FOR SHARE;
  RETURN FOUND AND EXISTS (SELECT 1 FROM {schema}.session WHERE id = {schema}.session_of_1(v_record));
END $f$;

CREATE OR REPLACE FUNCTION {schema}.put_1(
  p_key text, p_value bytea, p_expect text, p_revision bigint, p_expected bytea, p_holder text,
  p_session text, p_fence text, p_token bigint, p_wait integer,
  OUT outcome text, OUT detail text)
LANGUAGE plpgsql AS $f$
DECLARE
  v_found {schema}.entry;
  v_holder {schema}.session;
  v_session {schema}.session;
  v_there boolean;
  v_claimant text;
  v_revision bigint;
BEGIN
  PERFORM {schema}.begin_1(p_wait);
  PERFORM pg_advisory_xact_lock(hashtext({channel}), hashtext(p_key));
  detail := '';
  IF p_fence IS NOT NULL THEN
    -- Until this transaction has ended, no other candidate can take over the claim.
    IF NOT {schema}.holds_1(p_fence, p_token) THEN
      outcome := 'fenced';
      RETURN;
    END IF;
  END IF;
  IF p_session IS NOT NULL THEN
    SELECT * INTO v_session FROM {schema}.session WHERE id = p_session FOR UPDATE;
    IF NOT FOUND OR v_session.expired THEN
      outcome := 'lost';
      RETURN;
    END IF;
    IF {schema}.is_due_1(v_session) THEN
      UPDATE {schema}.session SET expired = true WHERE id = p_session;
      PERFORM {schema}.drop_entries_1(p_session);
      outcome := 'lost';
      RETURN;
    END IF;
  END IF;
  SELECT * INTO v_found FROM {schema}.entry WHERE key = p_key FOR UPDATE;
  v_there := FOUND;
  IF v_there AND v_found.session IS NOT NULL AND p_expect <> 'any' THEN
    SELECT * INTO v_holder FROM {schema}.session WHERE id = v_found.session;
    IF NOT FOUND OR {schema}.is_due_1(v_holder) THEN
      outcome := 'due';  -- it has to be ended first, with all of its entries
      detail := v_found.session;
      RETURN;
    END IF;
  END IF;
  IF (p_expect = 'absent' AND v_there)
    OR (p_expect = 'entry' AND (NOT v_there OR v_found.revision <> p_revision
      OR v_found.value <> p_expected OR v_found.session IS DISTINCT FROM p_holder)) THEN
    outcome := 'conflict';
    detail := CASE WHEN v_there THEN v_found.revision::text ELSE '' END;
    RETURN;
  END IF;
  IF right(p_key, length('{suffix}')) = '{suffix}' THEN
    -- A claim is made by a session that is not over: an operator may have ended it.
    v_claimant := {schema}.session_of_1(p_value);
    PERFORM 1 FROM {schema}.session WHERE id = v_claimant FOR KEY SHARE;
    IF v_claimant <> '' AND NOT FOUND THEN
      outcome := 'lost';
      RETURN;
    END IF;
  END IF;
  v_revision := nextval(({literal} || '.revision')::regclass);
  INSERT INTO {schema}.entry AS e (key, value, revision, session)
    VALUES (p_key, p_value, v_revision, p_session)
    ON CONFLICT ON CONSTRAINT entry_pkey DO UPDATE
    SET value = excluded.value, revision = excluded.revision, session = excluded.session;
  IF p_session IS NOT NULL AND NOT v_session.bound THEN
    UPDATE {schema}.session SET bound = true, renewed = clock_timestamp() WHERE id = p_session;
  END IF;
  PERFORM pg_notify({channel}, 'k:' || p_key);
  outcome := 'done';
  detail := v_revision::text;
END $f$;

CREATE OR REPLACE FUNCTION {schema}.delete_1(
  p_key text, p_expect text, p_revision bigint, p_expected bytea, p_holder text, p_wait integer,
  OUT outcome text, OUT detail text)
LANGUAGE plpgsql AS $f$
DECLARE
  v_found {schema}.entry;
  v_holder {schema}.session;
BEGIN
  PERFORM {schema}.begin_1(p_wait);
  detail := '';
  SELECT * INTO v_found FROM {schema}.entry WHERE key = p_key FOR UPDATE;
  IF NOT FOUND THEN
    outcome := 'absent';
    RETURN;
  END IF;
  detail := v_found.revision::text;
  IF v_found.session IS NOT NULL THEN
    SELECT * INTO v_holder FROM {schema}.session WHERE id = v_found.session;
    IF NOT FOUND OR {schema}.is_due_1(v_holder) THEN
      outcome := 'due';
      detail := v_found.session;
      RETURN;
    END IF;
  END IF;
  IF p_expect = 'absent'
    OR (p_expect = 'entry' AND (v_found.revision <> p_revision OR v_found.value <> p_expected
      OR v_found.session IS DISTINCT FROM p_holder)) THEN
    outcome := 'conflict';
    RETURN;
  END IF;
  DELETE FROM {schema}.entry WHERE key = p_key;
  PERFORM pg_notify({channel}, 'k:' || p_key);
  outcome := 'done';
END $f$;

-- Delete all keys from p_from on that are below p_to; all keys if that is null.
CREATE OR REPLACE FUNCTION {schema}.delete_range_1(p_from text, p_to text, p_wait integer)
RETURNS bigint LANGUAGE plpgsql AS $f$
DECLARE v_count bigint;
BEGIN
  PERFORM {schema}.begin_1(p_wait);
  PERFORM 1 FROM {schema}.entry
    WHERE key >= p_from AND (p_to IS NULL OR key < p_to) ORDER BY key FOR UPDATE;
  DELETE FROM {schema}.entry WHERE key >= p_from AND (p_to IS NULL OR key < p_to);
  GET DIAGNOSTICS v_count = ROW_COUNT;
  PERFORM pg_notify({channel}, '*:');
  RETURN v_count;
END $f$;

CREATE OR REPLACE FUNCTION {schema}.open_1(p_session text, p_ttl double precision, p_beat text, p_wait integer)
RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
  PERFORM {schema}.begin_1(p_wait);
  INSERT INTO {schema}.session (id, ttl, beat, renewed)
    VALUES (p_session, p_ttl, p_beat, clock_timestamp());
END $f$;

-- Replace one of the expected heartbeats. A session that has bound no entry does not depend on the clock.
CREATE OR REPLACE FUNCTION {schema}.renew_1(p_session text, p_expected text[], p_beat text, p_wait integer)
RETURNS text LANGUAGE plpgsql AS $f$
DECLARE v_session {schema}.session;
BEGIN
  PERFORM {schema}.begin_1(p_wait);
  SELECT * INTO v_session FROM {schema}.session WHERE id = p_session FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 'ended';
  END IF;
  IF {schema}.is_due_1(v_session) THEN
    IF NOT v_session.expired THEN
      UPDATE {schema}.session SET expired = true WHERE id = p_session;
      PERFORM {schema}.drop_entries_1(p_session);
    END IF;
    RETURN 'expired';
  END IF;
  IF NOT v_session.beat = ANY (p_expected) THEN
    RETURN 'overtaken';
  END IF;
  UPDATE {schema}.session SET beat = p_beat, renewed = clock_timestamp() WHERE id = p_session;
  RETURN 'renewed';
END $f$;

-- End a session: its holder with a null heartbeat, an observer with the one that it has observed.
CREATE OR REPLACE FUNCTION {schema}.end_1(p_session text, p_beat text, p_wait integer)
RETURNS text LANGUAGE plpgsql AS $f$
BEGIN
  PERFORM {schema}.begin_1(p_wait);
  DELETE FROM {schema}.session WHERE id = p_session AND (p_beat IS NULL OR beat = p_beat);
  IF NOT FOUND THEN
    PERFORM 1 FROM {schema}.session WHERE id = p_session;
    IF FOUND THEN
      RETURN 'renewed';
    END IF;
  END IF;
  PERFORM {schema}.drop_entries_1(p_session);
  PERFORM pg_notify({channel}, 's:' || p_session);
  RETURN 'ended';
END $f$;

-- For transactions of other programs: fails unless the term leads, and keeps it from being replaced until the
-- transaction has ended.
CREATE OR REPLACE FUNCTION {schema}.fence(p_key text, p_token bigint) RETURNS void
LANGUAGE plpgsql AS $f$
BEGIN
  IF NOT {schema}.holds_1(p_key, p_token) THEN
    RAISE EXCEPTION 'leadership: the term with token % of % is over', p_token, p_key
      USING ERRCODE = 'LD001', HINT = 'Another process leads, or none does; do not repeat the transaction.';
  END IF;
END $f$;
COMMIT;
"""
