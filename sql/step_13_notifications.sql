-- Step 13: notifications, and the outbox that they leave by.
--
--   capacity_alerting.enqueue_notification   queues one in the transaction of what it tells of: both are kept, or neither
--   capacity_alerting.claim_notifications    lends a sender what is due, for the time of a lease
--   capacity_alerting.settle_notification    records how an attempt ended: sent, again later, or a dead letter
--   capacity_alerting.requeue_notification   sends a dead letter, or anything else, again
--   capacity_alerting.claim_heartbeat        whether the world outside is still to be told of the newest evaluation
--
-- At least once: a sender that dies between sending and settling leaves its lease to expire, and the notification goes
-- out again under the same idempotency key. Alerts and reports share this outbox. Addresses are the sender's and never
-- stand here.
--
-- Apply with psql -f after step 9; safe to apply again. One transaction: it is deployed whole or not at all.
BEGIN;
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:deploy', 0));
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '30s';

DO $guard$
BEGIN
    IF to_regprocedure('capacity_ops.begin_version()') IS NULL THEN
        RAISE EXCEPTION 'step 9 is missing here: apply step_9_capacity_planning.sql first';
    ELSIF EXISTS (SELECT FROM capacity_ops.deployment WHERE step = 13 AND string_to_array(version, '.')::int[] > '{0,1,0}') THEN
        RAISE EXCEPTION 'this database holds a newer version of the notifications than 0.1.0: nothing was changed';
    ELSIF obj_description(to_regnamespace('capacity_alerting'), 'pg_namespace') IS DISTINCT FROM
          'Alerting: notifications and their outbox, episodes, alerts, calendars.'
          AND (EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('capacity_alerting'))
            OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = to_regnamespace('capacity_alerting'))) THEN
        RAISE EXCEPTION 'this database already holds a schema capacity_alerting that is not this project''s: nothing was changed'
            USING HINT = 'Rename or drop what is there, or deploy into another database.';
    END IF;
END
$guard$;

CREATE SCHEMA IF NOT EXISTS capacity_alerting;
COMMENT ON SCHEMA capacity_alerting IS 'Alerting: notifications and their outbox, episodes, alerts, calendars.';

---------------------------------------------------------------------------------------------------------------------
-- What operators set
---------------------------------------------------------------------------------------------------------------------
INSERT INTO capacity_ops.setting (name, value, description) VALUES
    ('outbox_give_up_hours', 72, 'a notification that could not be delivered for so long becomes a dead letter')
ON CONFLICT (name) DO NOTHING;

CREATE TABLE IF NOT EXISTS capacity_alerting.channel (
    name        varchar(50) PRIMARY KEY CHECK (name ~ '^[A-Z][A-Z0-9_]*$'),
    is_default  boolean     NOT NULL DEFAULT false,
    description text        NOT NULL
);
COMMENT ON TABLE capacity_alerting.channel IS
    'The ways by which people are told. What is sent to a channel that is neither here nor among the sender''s addresses is a dead letter at once.';
COMMENT ON COLUMN capacity_alerting.channel.name IS 'As thresholds name it; its address is the sender''s CAPACITY_CHANNEL_<name>, or stands under that name in the file CAPACITY_CHANNELS.';
COMMENT ON COLUMN capacity_alerting.channel.is_default IS 'Told of alerts whose threshold names no channel.';
INSERT INTO capacity_alerting.channel (name, is_default, description) VALUES
    ('EMAIL', true, 'mail, through the operators'' own server'),
    ('SLACK', false, 'a chat channel'),
    ('PAGERDUTY', false, 'whoever is on call')
ON CONFLICT (name) DO NOTHING;

CREATE TABLE IF NOT EXISTS capacity_alerting.text_setting (
    name        text PRIMARY KEY,
    value       text CONSTRAINT text_setting_no_secret CHECK (value !~ '://[^/]*@'),
    description text NOT NULL
);
COMMENT ON TABLE capacity_alerting.text_setting IS
    'Settings of alerting that are words; the numbers stand in capacity_ops.setting. A link that carries a name or a password is refused.';
-- A CHECK prints the row that it refuses, on the terminal and into the server's log: what may hold a secret is refused before.
CREATE OR REPLACE FUNCTION capacity_alerting.refuse_address() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'channel' AND to_jsonb(NEW) ->> 'name' !~ '^[A-Z][A-Z0-9_]*$' THEN
        RAISE EXCEPTION 'a channel is named, in capitals, digits and underscores, not addressed'
            USING HINT = 'Its address, which is a secret, stands where notifications are sent from.', ERRCODE = 'check_violation';
    ELSIF TG_TABLE_NAME = 'text_setting' AND to_jsonb(NEW) ->> 'value' ~ '://[^/]*@' THEN
        RAISE EXCEPTION 'a link with a name or a password in it goes to everybody who is told'
            USING HINT = 'Leave what stands before the @ out of it.', ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION capacity_alerting.refuse_address() IS 'Refuses an address in place of a channel''s name, and a link with a password, without repeating it.';
CREATE OR REPLACE TRIGGER refuse_address BEFORE INSERT OR UPDATE ON capacity_alerting.channel
    FOR EACH ROW EXECUTE FUNCTION capacity_alerting.refuse_address();
CREATE OR REPLACE TRIGGER refuse_address BEFORE INSERT OR UPDATE ON capacity_alerting.text_setting
    FOR EACH ROW EXECUTE FUNCTION capacity_alerting.refuse_address();
COMMENT ON COLUMN capacity_alerting.text_setting.value IS 'NULL: not set, and left out of messages.';
INSERT INTO capacity_alerting.text_setting (name, value, description) VALUES
    ('runbook_url', NULL, 'what to do about an alert: a link under each message; placeholders as in message templates'),
    ('report_url', NULL, 'where the reports are: a link under each message; placeholders as in message templates')
ON CONFLICT (name) DO NOTHING;

---------------------------------------------------------------------------------------------------------------------
-- What is told, and what became of it
---------------------------------------------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS capacity_alerting.notification_h (
    notification_hk bytea        PRIMARY KEY,
    notification_bk varchar(400) NOT NULL UNIQUE,
    load_date       timestamptz  NOT NULL,
    record_source   varchar(100) NOT NULL
);
COMMENT ON TABLE capacity_alerting.notification_h IS 'One message to one receiver. Its business key is the idempotency key that travels with it.';

CREATE TABLE IF NOT EXISTS capacity_alerting.notification_s (
    notification_hk bytea        NOT NULL REFERENCES capacity_alerting.notification_h,
    load_date       timestamptz  NOT NULL,
    load_end_date   timestamptz,
    hash_diff       bytea        NOT NULL,
    kind            varchar(20)  NOT NULL CHECK (kind IN ('ALERT', 'ESCALATION', 'RESOLUTION', 'REPORT', 'TEST')),
    channel         text         NOT NULL,
    contact         text,
    severity        varchar(20),
    subject         text         NOT NULL,
    body            text         NOT NULL,
    dedup_key       text         NOT NULL,
    attachment      text,
    queued_at       timestamptz  NOT NULL,
    record_source   varchar(100) NOT NULL,
    PRIMARY KEY (notification_hk, load_date)
);
CREATE UNIQUE INDEX IF NOT EXISTS notification_s_current
    ON capacity_alerting.notification_s (notification_hk) WHERE load_end_date IS NULL;
CREATE INDEX IF NOT EXISTS notification_s_dedup
    ON capacity_alerting.notification_s (dedup_key) WHERE load_end_date IS NULL;
COMMENT ON TABLE capacity_alerting.notification_s IS 'What a notification says, as it was rendered when it was queued.';
COMMENT ON COLUMN capacity_alerting.notification_s.contact IS 'Whom in particular: a mail address (told through the channel EMAIL''s server), or a channel''s name; NULL: whoever the channel''s own address reaches.';
COMMENT ON COLUMN capacity_alerting.notification_s.dedup_key IS 'Shared by all that is told of one incident: a resolution closes what its alert opened.';
COMMENT ON COLUMN capacity_alerting.notification_s.attachment IS 'A file on the sender''s host that goes with it, or NULL.';
COMMENT ON COLUMN capacity_alerting.notification_s.queued_at IS 'The time that it speaks of: the evaluation''s, or the report''s.';

CREATE TABLE IF NOT EXISTS capacity_alerting.delivery_s (
    notification_hk bytea        NOT NULL REFERENCES capacity_alerting.notification_h,
    load_date       timestamptz  NOT NULL,
    load_end_date   timestamptz,
    hash_diff       bytea        NOT NULL,
    attempt         integer      NOT NULL,
    attempted_at    timestamptz  NOT NULL,
    outcome         varchar(20)  NOT NULL CHECK (outcome IN ('SENT', 'FAILED', 'DEAD', 'REQUEUED')),
    error           text,
    sender          text         NOT NULL,
    duration_ms     integer,
    record_source   varchar(100) NOT NULL,
    PRIMARY KEY (notification_hk, load_date)
);
COMMENT ON TABLE capacity_alerting.delivery_s IS 'Every attempt at delivering a notification, all of them current: nothing here is changed.';
COMMENT ON COLUMN capacity_alerting.delivery_s.attempt IS 'The attempt''s number since the notification was queued or requeued.';
COMMENT ON COLUMN capacity_alerting.delivery_s.attempted_at IS 'When it was settled; of a sender that never said how it ended: when its lease was over.';
COMMENT ON COLUMN capacity_alerting.delivery_s.outcome IS 'SENT: the receiver took it. FAILED: another attempt follows. DEAD: none does, until somebody requeues it. REQUEUED: somebody did.';
COMMENT ON COLUMN capacity_alerting.delivery_s.error IS 'What the receiver or the way to it said, its secrets masked by the sender.';

CREATE TABLE IF NOT EXISTS capacity_alerting.outbox (
    notification_hk bytea        PRIMARY KEY REFERENCES capacity_alerting.notification_h,
    place           bigint       GENERATED ALWAYS AS IDENTITY,
    thread          bytea        NOT NULL,
    since           timestamptz  NOT NULL,
    changed_at      timestamptz  NOT NULL,
    due_at          timestamptz  NOT NULL,
    attempts        integer      NOT NULL DEFAULT 0,
    leased_until    timestamptz,
    leased_by       text
);
CREATE INDEX IF NOT EXISTS outbox_thread ON capacity_alerting.outbox (thread, place);
COMMENT ON TABLE capacity_alerting.outbox IS 'What is still to be delivered: a working table. A row leaves it when it was sent or became a dead letter.';
COMMENT ON COLUMN capacity_alerting.outbox.thread IS 'Hash of channel, contact and dedup_key. Within a thread nothing overtakes: a resolution never goes out before the alert that it resolves.';
COMMENT ON COLUMN capacity_alerting.outbox.since IS 'When it was queued or requeued: what giving up is counted from.';
COMMENT ON COLUMN capacity_alerting.outbox.changed_at IS 'When due_at or the lease was set: should that lie ahead, the clock was set back and neither is waited for.';
COMMENT ON COLUMN capacity_alerting.outbox.leased_until IS 'Until when no other sender takes it; NULL: nobody has it.';

DO $versions$
BEGIN
    PERFORM capacity_ops.keep_versions('capacity_alerting.notification_s');
END
$versions$;

CREATE OR REPLACE FUNCTION capacity_alerting.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a row of %.% is a record of what happened and is not changed', TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$;
COMMENT ON FUNCTION capacity_alerting.refuse_change() IS 'Trigger of tables that are only added to.';
CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE ON capacity_alerting.delivery_s
    FOR EACH ROW EXECUTE FUNCTION capacity_alerting.refuse_change();

---------------------------------------------------------------------------------------------------------------------
-- Into the outbox
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_alerting.enqueue_notification(
    p_key text, p_kind text, p_channel text, p_contact text, p_severity text, p_subject text, p_body text, p_dedup_key text,
    p_queued_at timestamptz, p_attachment text DEFAULT NULL) RETURNS bytea
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    WITH made AS (  -- what is an address and no name of one is not kept; it is a dead letter as any name that nobody knows
        SELECT capacity_ops.hash_key(p_key) AS hk, clock_timestamp() AS at, regexp_replace(upper(p_channel), '://.*$', '://***') AS channel,
               regexp_replace(nullif(p_contact, ''), '://.*$', '://***') AS contact,
               coalesce(p_dedup_key, p_key) AS dedup_key, coalesce(p_queued_at, clock_timestamp()) AS queued_at
    ), hub AS (
        INSERT INTO capacity_alerting.notification_h (notification_hk, notification_bk, load_date, record_source)
        SELECT m.hk, p_key, m.at, 'capacity_alerting' FROM made m
        ON CONFLICT DO NOTHING
        RETURNING notification_hk
    ), satellite AS (
        INSERT INTO capacity_alerting.notification_s (notification_hk, load_date, hash_diff, kind, channel, contact, severity, subject, body,
                                                      dedup_key, attachment, queued_at, record_source)
        SELECT m.hk, m.at, capacity_ops.hash_diff(jsonb_build_object('kind', p_kind, 'channel', m.channel, 'contact', m.contact,
                   'severity', p_severity, 'subject', p_subject, 'body', p_body, 'dedup_key', m.dedup_key, 'attachment', p_attachment,
                   'queued_at', m.queued_at, 'notification_hk', m.hk, 'record_source', 'capacity_alerting'), VARIADIC '{}'::text[]),
               p_kind, m.channel, m.contact, p_severity, p_subject, p_body, m.dedup_key, p_attachment, m.queued_at, 'capacity_alerting'
        FROM made m JOIN hub h ON h.notification_hk = m.hk
    )
    INSERT INTO capacity_alerting.outbox (notification_hk, thread, since, changed_at, due_at)
    SELECT m.hk, capacity_ops.hash_key(concat_ws('|', m.channel, coalesce(m.contact, ''), m.dedup_key)), m.at, m.at, m.at
    FROM made m JOIN hub h ON h.notification_hk = m.hk;
    SELECT capacity_ops.hash_key(p_key);
END;
COMMENT ON FUNCTION capacity_alerting.enqueue_notification(text, text, text, text, text, text, text, text, timestamptz, text) IS
    'Queues a notification in the open transaction and returns its hash key. Under a key that was queued before, nothing happens: the first stands. p_channel NULL is an error; p_dedup_key NULL: the key.';

---------------------------------------------------------------------------------------------------------------------
-- Out of the outbox
---------------------------------------------------------------------------------------------------------------------
CREATE OR REPLACE FUNCTION capacity_alerting.way(p_channel text, p_contact text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_contact LIKE '%@%' THEN 'EMAIL' ELSE coalesce(upper(p_contact), p_channel) END;
END;
COMMENT ON FUNCTION capacity_alerting.way(text, text) IS
    'The channel whose address a notification goes by: that of its contact, if it has one. A mail address is told through EMAIL.';

DROP FUNCTION IF EXISTS capacity_alerting.claim_notifications(text, integer, integer, text[]);  -- before senders said what they have addresses of
DROP FUNCTION IF EXISTS capacity_alerting.claim_notifications(text, integer, integer, text[], text[]);  -- its columns may have changed
CREATE FUNCTION capacity_alerting.claim_notifications(
    p_sender text, p_limit integer, p_lease_seconds integer, p_except text[] DEFAULT '{}', p_channels text[] DEFAULT NULL)
RETURNS TABLE (notification_hk bytea, key varchar, kind varchar, channel text, contact text, severity varchar, subject text, body text,
               dedup_key text, attachment text, attempt integer, is_known_channel boolean)
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    WITH due AS MATERIALIZED (
        SELECT o.notification_hk, o.attempts, o.leased_until, o.leased_by,
               o.leased_by IS NOT NULL AND o.attempts >= 10
               AND clock_timestamp() - o.since >= make_interval(hours => capacity_ops.setting('outbox_give_up_hours')::int) AS is_over
        FROM capacity_alerting.outbox o
        WHERE (o.changed_at > clock_timestamp() + interval '1 minute'
               OR (o.due_at <= clock_timestamp() AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())))
          AND NOT EXISTS (SELECT FROM capacity_alerting.outbox e WHERE e.thread = o.thread AND e.place < o.place)
          AND NOT EXISTS (SELECT FROM capacity_alerting.notification_s n
                          WHERE n.notification_hk = o.notification_hk AND n.load_end_date IS NULL AND n.channel = ANY (p_except))
          AND (p_channels IS NULL OR o.due_at <= clock_timestamp() - interval '10 minutes'
               OR EXISTS (SELECT FROM capacity_alerting.notification_s n
                          CROSS JOIN LATERAL capacity_alerting.way(n.channel, n.contact) AS w (name)
                          WHERE n.notification_hk = o.notification_hk AND n.load_end_date IS NULL
                            AND (n.kind = 'TEST' OR w.name = ANY (p_channels)
                                 OR NOT EXISTS (SELECT FROM capacity_alerting.channel k WHERE k.name = w.name))))
        ORDER BY o.due_at, o.place
        LIMIT p_limit
        FOR UPDATE OF o SKIP LOCKED
    ), lost AS (
        INSERT INTO capacity_alerting.delivery_s (notification_hk, load_date, hash_diff, attempt, attempted_at, outcome, error, sender, record_source)
        SELECT d.notification_hk,
               capacity_ops.next_load_date((SELECT max(s.load_date) FROM capacity_alerting.delivery_s s WHERE s.notification_hk = d.notification_hk)),
               capacity_ops.hash_diff(jsonb_build_object('notification_hk', d.notification_hk, 'attempt', d.attempts, 'outcome', e.outcome, 'sender', d.leased_by), VARIADIC '{}'::text[]),
               d.attempts, d.leased_until, e.outcome, e.error, d.leased_by, 'capacity_alerting'
        FROM due d
        CROSS JOIN LATERAL (SELECT CASE WHEN d.is_over THEN 'DEAD' ELSE 'FAILED' END AS outcome,
                                   CASE WHEN d.is_over THEN 'given up: none of its senders said how this ended, and it may have been delivered'
                                        ELSE 'its sender did not say how this ended: it may have been delivered' END AS error) e
        WHERE d.leased_by IS NOT NULL
    ), over AS (
        DELETE FROM capacity_alerting.outbox o USING due d WHERE o.notification_hk = d.notification_hk AND d.is_over
    ), claimed AS (
        UPDATE capacity_alerting.outbox o
        SET attempts = o.attempts + 1, leased_by = p_sender, changed_at = clock_timestamp(),
            -- what takes its senders down with it is lent ever more seldom, as what fails is tried
            leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds * 2 ^ least(greatest(o.attempts - 4, 0), 6))
        FROM due d WHERE o.notification_hk = d.notification_hk AND NOT d.is_over
        RETURNING o.notification_hk, o.attempts, o.place
    )
    SELECT c.notification_hk, h.notification_bk, s.kind, s.channel, s.contact, s.severity, s.subject, s.body, s.dedup_key, s.attachment, c.attempts,
           EXISTS (SELECT FROM capacity_alerting.channel k WHERE k.name = capacity_alerting.way(s.channel, s.contact))
    FROM claimed c
    JOIN capacity_alerting.notification_h h ON h.notification_hk = c.notification_hk
    JOIN capacity_alerting.notification_s s ON s.notification_hk = c.notification_hk AND s.load_end_date IS NULL
    ORDER BY c.place;
END;
COMMENT ON FUNCTION capacity_alerting.claim_notifications(text, integer, integer, text[], text[]) IS
    'Lends p_sender (a name that no other run of a sender bears) up to p_limit notifications that are due, for p_lease_seconds; none of the channels p_except, whose servers are slow or ask for patience. p_channels: those that the sender has addresses of (NULL: any); what goes by another is left for ten minutes to a sender that has its address, and lent then, so that somebody says what is missing. Commit before sending: then no other sender takes them meanwhile. What another sender took and never settled is lent again when its lease is over, from the sixth time on for twice as long each time, and given up as what fails is.';

CREATE OR REPLACE FUNCTION capacity_alerting.record_delivery(
    p_notification_hk bytea, p_attempt integer, p_outcome text, p_error text, p_sender text, p_duration_ms integer) RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    INSERT INTO capacity_alerting.delivery_s (notification_hk, load_date, hash_diff, attempt, attempted_at, outcome, error, sender, duration_ms, record_source)
    SELECT p_notification_hk,
           capacity_ops.next_load_date((SELECT max(s.load_date) FROM capacity_alerting.delivery_s s WHERE s.notification_hk = p_notification_hk)),
           capacity_ops.hash_diff(jsonb_build_object('notification_hk', p_notification_hk, 'attempt', p_attempt, 'outcome', p_outcome,
               'error', p_error, 'sender', p_sender, 'duration_ms', p_duration_ms), VARIADIC '{}'::text[]),
           p_attempt, clock_timestamp(), p_outcome, left(p_error, 2000), p_sender, p_duration_ms, 'capacity_alerting';
END;
COMMENT ON FUNCTION capacity_alerting.record_delivery(bytea, integer, text, text, text, integer) IS
    'Adds an attempt to delivery_s; the caller holds the lock on the notification''s hub row.';

CREATE OR REPLACE FUNCTION capacity_alerting.settle_notification(
    p_notification_hk bytea, p_sender text, p_outcome text, p_error text, p_duration_ms integer, p_retry_after_seconds integer DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_row capacity_alerting.outbox;
    v_outcome text := p_outcome;
    v_error text := p_error;
    v_wait interval;
BEGIN
    IF p_outcome NOT IN ('SENT', 'FAILED', 'DEAD') THEN
        RAISE EXCEPTION '% is no outcome: SENT, FAILED or DEAD', p_outcome;
    END IF;
    PERFORM FROM capacity_alerting.notification_h WHERE notification_hk = p_notification_hk FOR NO KEY UPDATE;  -- so that alerts can join it meanwhile
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no notification %', p_notification_hk;
    END IF;
    SELECT * INTO v_row FROM capacity_alerting.outbox WHERE notification_hk = p_notification_hk FOR UPDATE;
    IF v_row.leased_by IS DISTINCT FROM p_sender AND p_outcome <> 'SENT' THEN
        -- Late: another sender has it by now, or it is settled. What became of this attempt is kept, and decides nothing.
        PERFORM capacity_alerting.record_delivery(p_notification_hk, coalesce(v_row.attempts, 0), 'FAILED', p_error, p_sender, p_duration_ms);
        RETURN 'FAILED';
    END IF;
    IF p_outcome = 'FAILED' AND clock_timestamp() - v_row.since >= make_interval(hours => capacity_ops.setting('outbox_give_up_hours')::int) THEN
        v_outcome := 'DEAD';
        v_error := format('given up after %s attempts since %s: %s', v_row.attempts,
                          to_char(v_row.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), p_error);
    END IF;
    PERFORM capacity_alerting.record_delivery(p_notification_hk, coalesce(v_row.attempts, 0), v_outcome, v_error, p_sender, p_duration_ms);
    IF v_outcome = 'FAILED' THEN
        v_wait := greatest(make_interval(mins => least(60, 2 ^ least(v_row.attempts - 1, 6))::int),
                           make_interval(secs => least(coalesce(p_retry_after_seconds, 0), 86400)));
        UPDATE capacity_alerting.outbox
        SET due_at = clock_timestamp() + v_wait, changed_at = clock_timestamp(), leased_until = NULL, leased_by = NULL
        WHERE notification_hk = p_notification_hk;
    ELSE
        DELETE FROM capacity_alerting.outbox WHERE notification_hk = p_notification_hk;
    END IF;
    RETURN v_outcome;
END
$$;
COMMENT ON FUNCTION capacity_alerting.settle_notification(bytea, text, text, text, integer, integer) IS
    'Records how p_sender''s attempt ended and returns what follows: SENT and DEAD end it; FAILED is tried again after 1, 2, 4, ... 60 minutes, or what the receiver asked for (p_retry_after_seconds, a day at most), and is DEAD when setting outbox_give_up_hours has passed. From a sender whose lease another one took over, only SENT still counts.';

CREATE OR REPLACE FUNCTION capacity_alerting.requeue_notification(p_notification_hk bytea) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_again bytea;
BEGIN
    PERFORM FROM capacity_alerting.notification_h WHERE notification_hk = p_notification_hk FOR NO KEY UPDATE;  -- so that alerts can join it meanwhile
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no notification %', p_notification_hk;
    END IF;
    UPDATE capacity_alerting.outbox SET due_at = v_now, changed_at = v_now, since = v_now
    WHERE notification_hk = p_notification_hk AND leased_by IS NULL;
    IF FOUND OR EXISTS (SELECT FROM capacity_alerting.outbox WHERE notification_hk = p_notification_hk) THEN
        RETURN false;
    END IF;
    -- An alert that goes out again would stay open where its resolution was told before: that is told again, after it. One
    -- that waits is put behind it; one that is on its way goes first.
    IF EXISTS (SELECT FROM capacity_alerting.outbox o
               JOIN capacity_alerting.notification_s r ON r.notification_hk = o.notification_hk AND r.load_end_date IS NULL AND r.kind = 'RESOLUTION'
               JOIN capacity_alerting.notification_s s ON r.dedup_key = s.dedup_key AND r.channel = s.channel AND r.contact IS NOT DISTINCT FROM s.contact
               WHERE s.notification_hk = p_notification_hk AND s.load_end_date IS NULL AND s.kind IN ('ALERT', 'ESCALATION') AND o.leased_until > v_now) THEN
        RAISE NOTICE 'its resolution is on its way: try again in a minute';
        RETURN false;
    END IF;
    FOR v_again IN
        SELECT r.notification_hk
        FROM capacity_alerting.notification_s s
        JOIN capacity_alerting.notification_s r ON r.dedup_key = s.dedup_key AND r.channel = s.channel AND r.contact IS NOT DISTINCT FROM s.contact
        WHERE s.notification_hk = p_notification_hk AND s.load_end_date IS NULL AND r.load_end_date IS NULL
          AND (r.notification_hk = s.notification_hk OR (s.kind IN ('ALERT', 'ESCALATION') AND r.kind = 'RESOLUTION'))
          AND NOT EXISTS (SELECT FROM capacity_alerting.outbox o WHERE o.notification_hk = r.notification_hk)
        ORDER BY r.notification_hk <> s.notification_hk, r.load_date
    LOOP
        PERFORM capacity_alerting.record_delivery(v_again, 0, 'REQUEUED', NULL, session_user::text, NULL);
        INSERT INTO capacity_alerting.outbox (notification_hk, thread, since, changed_at, due_at)
        SELECT s.notification_hk, capacity_ops.hash_key(concat_ws('|', s.channel, coalesce(s.contact, ''), s.dedup_key)), v_now, v_now, v_now
        FROM capacity_alerting.notification_s s WHERE s.notification_hk = v_again AND s.load_end_date IS NULL;
    END LOOP;
    UPDATE capacity_alerting.outbox o SET place = DEFAULT
    FROM capacity_alerting.outbox again
    WHERE again.notification_hk = p_notification_hk AND o.thread = again.thread AND o.place < again.place
      AND EXISTS (SELECT FROM capacity_alerting.notification_s r
                  WHERE r.notification_hk = o.notification_hk AND r.load_end_date IS NULL AND r.kind = 'RESOLUTION')
      AND EXISTS (SELECT FROM capacity_alerting.notification_s s
                  WHERE s.notification_hk = p_notification_hk AND s.load_end_date IS NULL AND s.kind IN ('ALERT', 'ESCALATION'));
    RETURN true;
END
$$;
COMMENT ON FUNCTION capacity_alerting.requeue_notification(bytea) IS
    'Puts a notification that was settled (a dead letter, as a rule) back into the outbox, due now, under its old key; where a resolution of it was queued since, that too, after it. One that is waiting already is made due now, and false returned; false too, and nothing changed, while its resolution is being sent.';

CREATE OR REPLACE VIEW capacity_alerting.notification AS
SELECT s.notification_hk, h.notification_bk AS key, s.kind, s.channel, s.contact, s.severity, s.subject, s.body, s.dedup_key, s.attachment, s.queued_at,
       CASE WHEN o.notification_hk IS NOT NULL THEN 'PENDING' WHEN d.sent_at IS NOT NULL THEN 'SENT' ELSE 'DEAD' END AS state,
       d.attempts, d.last_error, d.sent_at, d.last_attempt_at, o.due_at, o.leased_until, o.leased_by
FROM capacity_alerting.notification_s s
JOIN capacity_alerting.notification_h h ON h.notification_hk = s.notification_hk
LEFT JOIN capacity_alerting.outbox o ON o.notification_hk = s.notification_hk
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE a.outcome <> 'REQUEUED') AS attempts, min(a.attempted_at) FILTER (WHERE a.outcome = 'SENT') AS sent_at,
           max(a.attempted_at) FILTER (WHERE a.outcome <> 'REQUEUED') AS last_attempt_at,
           (array_agg(a.error ORDER BY a.load_date DESC) FILTER (WHERE a.error IS NOT NULL))[1] AS last_error
    FROM capacity_alerting.delivery_s a WHERE a.notification_hk = s.notification_hk) d
WHERE s.load_end_date IS NULL;
COMMENT ON VIEW capacity_alerting.notification IS
    'One row a notification: what it says and what became of it. PENDING: in the outbox. SENT: a receiver took it, at sent_at first. DEAD: given up, see last_error; capacity_alerting.requeue_notification sends it again.';

---------------------------------------------------------------------------------------------------------------------
-- The heartbeat: an outbox in a database that has stopped tells nobody, so somebody outside waits for a sign of life.
---------------------------------------------------------------------------------------------------------------------
CREATE TABLE IF NOT EXISTS capacity_alerting.heartbeat (
    is_only      boolean     PRIMARY KEY DEFAULT true CHECK (is_only),
    evaluated_at timestamptz,
    sent_at      timestamptz,
    changed_at   timestamptz,
    leased_until timestamptz,
    leased_by    text,
    error        text
);
COMMENT ON TABLE capacity_alerting.heartbeat IS 'One row: the newest evaluation that the heartbeat''s address outside was told of, and who is about to tell of another.';
COMMENT ON COLUMN capacity_alerting.heartbeat.error IS 'Why the last attempt failed, secrets masked; NULL: it did not.';
INSERT INTO capacity_alerting.heartbeat DEFAULT VALUES ON CONFLICT DO NOTHING;

CREATE OR REPLACE FUNCTION capacity_alerting.claim_heartbeat(p_sender text, p_lease_seconds integer) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_newest timestamptz;
    v_now timestamptz := clock_timestamp();
BEGIN
    IF to_regclass('capacity_alerting.evaluation') IS NULL THEN
        RETURN NULL;
    END IF;
    -- One tenant's evaluation says nothing of the others: it counts only where all are evaluated one by one
    SELECT e.evaluated_at INTO v_newest FROM capacity_alerting.evaluation e
    WHERE e.is_live AND (e.tenant_hk IS NULL OR NOT EXISTS (
        SELECT FROM capacity_alerting.evaluation w WHERE w.is_live AND w.tenant_hk IS NULL AND w.evaluated_at > v_now - interval '7 days'))
    ORDER BY e.evaluation_id DESC LIMIT 1;
    IF v_newest IS NULL OR v_newest > v_now + interval '5 minutes'
       OR v_newest < v_now - make_interval(secs => 3 * capacity_ops.setting('monitoring_interval_seconds')::float8) THEN
        RETURN NULL;  -- silence is what the one outside is waiting for
    END IF;
    UPDATE capacity_alerting.heartbeat b
    SET leased_until = v_now + make_interval(secs => p_lease_seconds), leased_by = p_sender, changed_at = v_now
    WHERE b.evaluated_at IS DISTINCT FROM v_newest
      AND (b.leased_until IS NULL OR b.leased_until <= v_now OR b.changed_at > v_now + interval '1 minute');
    RETURN CASE WHEN FOUND THEN v_newest END;
END
$$;
COMMENT ON FUNCTION capacity_alerting.claim_heartbeat(text, integer) IS
    'The newest live evaluation (of the system and every tenant, where there was such a one in the last week), if p_sender is to tell the world outside of it; NULL: it was told already, another sender is about to, or the evaluation is older than three monitoring intervals, and then silence is the message.';

CREATE OR REPLACE FUNCTION capacity_alerting.settle_heartbeat(p_sender text, p_evaluated_at timestamptz, p_error text) RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    UPDATE capacity_alerting.heartbeat b
    SET evaluated_at = CASE WHEN p_error IS NULL THEN p_evaluated_at ELSE b.evaluated_at END,
        sent_at = CASE WHEN p_error IS NULL THEN clock_timestamp() ELSE b.sent_at END,
        error = left(p_error, 2000), leased_until = NULL, leased_by = NULL, changed_at = clock_timestamp()
    WHERE b.leased_by = p_sender;
END;
COMMENT ON FUNCTION capacity_alerting.settle_heartbeat(text, timestamptz, text) IS
    'Records that the heartbeat of an evaluation went out (p_error NULL), or why it did not: then the next run tries again.';

INSERT INTO capacity_ops.deployment (step, version, applied_at, applied_by)
VALUES (13, '0.1.0', clock_timestamp(), session_user)
ON CONFLICT (step) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at, applied_by = excluded.applied_by;

COMMIT;
