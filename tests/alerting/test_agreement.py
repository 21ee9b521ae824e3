"""The database's evaluation, the plain policy and the replay make the same of the same history."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property

import numpy as np
import pandas as pd

from capacity_kit.alerting import policy as rules
from capacity_kit.alerting.policy import Calendar, Hours, Pair, Policy, Window
from capacity_kit.alerting.replay import Fleet, Runway, replay

# Saturday noon; the clocks in Berlin go back in the night.
START = pd.Timestamp("2025-10-25 12:00", tz="UTC")
HORIZON_DAYS = 0.5
ON_THE_LINE = [70, 77, 78, 79, 80, 80, 81, 82, 85, 90, 96, 100]
TENANT = hashlib.sha256(b"a").digest()
KINDS = {"STORAGE": True, "CPU": False}  # whether usage piles up
COLUMNS = (
    "resource_utilization_hk, load_date, hash_diff, measurement_timestamp, current_value, tenant_hk, resource_type, "
    "resource_name, resource_category, unit, maximum_capacity, record_source"
)


def at(minutes):
    return START + pd.Timedelta(minutes=int(minutes))


@dataclass
class Resource:
    """One resource: whose, its history as a frame, and what was forecast of it."""

    name: str
    kind: str
    tenant: bytes | None
    measured: pd.DataFrame
    origins: list[pd.Timestamp] = field(default_factory=list)
    days: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    @cached_property
    def rows(self):
        return list(self.measured.itertuples(index=False, name=None))

    @cached_property
    def key(self):
        return f"{self.kind}|{self.name}|{self.tenant.hex() if self.tenant else 'SYSTEM'}"


@dataclass
class Threshold:
    """One threshold: its name, whose, of which type, and its policy."""

    name: str
    kind: str
    tenant: bytes | None
    policy: Policy


class World:
    """A made-up history, the thresholds over it, and all that holds back alerts: once here, once in the database."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.resources = [
            self._resource(f"{kind.lower()} {n}", kind, tenant)
            for kind in KINDS
            for tenant in (None, TENANT)
            for n in range(2)
        ]
        self.thresholds = []
        self.evaluated = [at(m) for m in np.cumsum(self.rng.choice([1, 7, 15, 15, 15, 16, 30, 75, 200], 45))]
        self.alone = set(self.rng.choice(45, 6, replace=False).tolist())  # evaluations of the tenant only
        day = dt.time
        self.calendars = {
            None: Calendar(
                "America/St_Johns",
                (1, 2, 3, 4, 5, 6),
                day(7, 30),
                day(20),
                holidays=frozenset({dt.date(2025, 10, 27)}),
            ),
            TENANT: Calendar("Europe/Berlin", (6, 7, 1), day(1, 30), day(22), holidays=frozenset()),
        }
        self.windows = [
            (
                TENANT,
                None,
                Window(
                    at(-7 * 1440 + 600).to_pydatetime(),
                    at(-7 * 1440 + 700).to_pydatetime(),
                    1,
                    "Europe/Berlin",
                ),
            ),
            (None, "CPU", Window(at(300).to_pydatetime(), at(420).to_pydatetime())),
        ]
        self.mutes = [
            (None, "STORAGE", "storage 1", at(900), at(1100)),
            (TENANT, None, None, at(60), at(100)),
        ]

    def _resource(self, name, kind, tenant):
        rng = self.rng
        gaps = rng.choice([5, 15, 15, 30, 50, 180], 120)
        value = rng.choice(ON_THE_LINE, gaps.size).astype(float)
        # For stretches it stays where it is, so that episodes last; and now and then it is cut.
        value = np.where(rng.random(gaps.size) < 0.45, np.roll(value, 1), value)
        capacity = np.full(gaps.size, 100.0)
        if rng.random() < 0.5:
            capacity[rng.integers(gaps.size) :] = rng.choice([80.0, 125.0, 200.0])
        capacity[rng.random(gaps.size) < 0.04] = np.nan
        measured = pd.DataFrame(
            {"measured_at": [at(m) for m in np.cumsum(gaps) - 120], "value": value, "capacity": capacity}
        )
        return Resource(name, kind, tenant, measured)

    def level_thresholds(self, count=14):
        """Random ones of every kind; the critical levels are fixed, so that what a warning warns of is known."""
        rng = self.rng
        for kind, tenant in [(k, t) for k in KINDS for t in (None, TENANT)]:
            self.thresholds.append(
                Threshold(f"critical {kind}", kind, tenant, self._policy(90.0, ">=", 100.0))
            )
        for n in range(count):
            falls = n % 5 == 4
            operator = str(rng.choice(["<=", "<"] if falls else [">=", ">="] if n % 2 else [">", ">="]))
            level = float(rng.choice([78, 79] if falls else [79, 80, 82]))
            kind, tenant = str(rng.choice(list(KINDS))), (None, TENANT)[int(rng.integers(2))]
            self.thresholds.append(Threshold(f"t{n:02}", kind, tenant, self._policy(level, operator, 90.0)))

    def _policy(self, level, operator, target):
        rng = self.rng
        return Policy(
            level,
            operator=operator,
            target=target,
            margin=float(rng.choice([0, 1, 2, 90, 10])),
            frequency_minutes=int(rng.choice([0, 15, 15, 60])),
            suppression_minutes=int(rng.choice([0, 0, 45, 240])),
            escalation_minutes=int(rng.choice([0, 20, 45, 300])),
            business_hours_only=bool(rng.random() < 0.35),
            maintenance_exempt=bool(rng.random() < 0.3),
            alert_enabled=bool(rng.random() < 0.93),
            auto_resolution=bool(rng.random() < 0.85),
        )

    def hours(self, resource):
        """What holds for a resource, as the replay is told it."""
        return Hours(
            self.calendars[resource.tenant],
            tuple(
                window
                for tenant, kind, window in self.windows
                if tenant in (None, resource.tenant) and kind in (None, resource.kind)
            ),
            tuple(
                (start.to_pydatetime(), end.to_pydatetime())
                for tenant, kind, name, start, end in self.mutes
                if tenant in (None, resource.tenant)
                and kind in (None, resource.kind)
                and name in (None, resource.name)
            ),
        )

    # Into the database -----------------------------------------------------------------------------------------

    def plant(self, db):
        """The history and all that is set, in the database; the keys of the thresholds, by name and owner."""
        db.execute("INSERT INTO auth.tenant_h VALUES (%s, 'a', now(), 'test')", [TENANT])
        db.execute(
            "UPDATE capacity_ops.setting SET value = %s WHERE name = 'verdict_horizon_days'", [HORIZON_DAYS]
        )
        for resource in self.resources:
            hk = hashlib.sha256(resource.key.encode()).digest()
            db.execute(
                "INSERT INTO capacity_planning.resource_utilization_h VALUES (%s, %s, now(), 'test')",
                [hk, resource.key],
            )
            with db.cursor().copy(
                f"COPY capacity_planning.resource_utilization_s ({COLUMNS}) FROM STDIN"
            ) as copy:
                for row in resource.measured.itertuples():
                    capacity = None if np.isnan(row.capacity) else row.capacity
                    copy.write_row(
                        (hk, dt.datetime.now(dt.UTC), b"", row.measured_at.to_pydatetime(), row.value, resource.tenant,
                         resource.kind, resource.name, "TEST", "GiB", capacity, "test")
                    )  # fmt: skip
            self._plant_forecasts(db, resource)
        for tenant, calendar in self.calendars.items():
            db.execute(
                "SELECT capacity_alerting.set_business_calendar(%s, %s, %s, %s, %s)",
                [tenant, calendar.zone, list(calendar.working_days), calendar.opens, calendar.closes],
            )
            for holiday in calendar.holidays:
                db.execute("INSERT INTO capacity_alerting.holiday VALUES (%s, %s, 'x')", [tenant, holiday])
        for tenant, kind, w in self.windows:
            db.execute(
                "SELECT capacity_alerting.declare_maintenance(%s, %s, %s, %s, %s, %s)",
                [w.starts_at, w.ends_at, tenant, kind, w.repeat_weeks, w.zone],
            )
        for tenant, kind, name, start, end in self.mutes:
            db.execute(
                "INSERT INTO capacity_alerting.mute (tenant_hk, resource_type, resource_name, from_at, until_at) "
                "VALUES (%s, %s, %s, %s, %s)",
                [tenant, kind, name, start.to_pydatetime(), end.to_pydatetime()],
            )
        return {(t.name, t.tenant): self._plant_threshold(db, t) for t in self.thresholds}

    def _plant_threshold(self, db, threshold):
        p, name, kind, tenant = threshold.policy, threshold.name, threshold.kind, threshold.tenant
        if p.condition == "RUNWAY":
            made = "SELECT capacity_alerting.create_runway_threshold(%s, %s, %s, %s, %s, %s)"
            [hk] = db.execute(
                made, [tenant, name, kind, Decimal(p.level), p.probability, Decimal(p.target)]
            ).fetchone()
        elif p.condition == "ABSENCE":
            made = "SELECT capacity_alerting.create_absence_threshold(%s, %s, %s, %s)"
            [hk] = db.execute(made, [tenant, name, kind, Decimal(p.level)]).fetchone()
        else:
            made = "SELECT capacity_planning.create_capacity_threshold(%s, %s, %s, %s, %s)"
            grade = "CRITICAL" if p.target == 100 else "WARNING"
            [hk] = db.execute(made, [tenant, name, kind, Decimal(p.level), grade]).fetchone()
        db.execute(
            "UPDATE capacity_planning.capacity_threshold_s SET threshold_operator = %s, recovery_margin = %s, "
            "evaluation_frequency_minutes = %s, suppression_enabled = %s, suppression_duration_minutes = %s, "
            "escalation_enabled = %s, escalation_delay_minutes = %s, business_hours_only = %s, "
            "maintenance_window_exempt = %s, alert_enabled = %s, auto_resolution_enabled = %s "
            "WHERE capacity_threshold_hk = %s AND load_end_date IS NULL",
            [p.operator, p.margin, p.frequency_minutes or None, p.suppression_minutes > 0,
             p.suppression_minutes or None, p.escalation_minutes > 0, p.escalation_minutes,
             p.business_hours_only, p.maintenance_exempt, p.alert_enabled, p.auto_resolution, hk],
        )  # fmt: skip
        return hk

    def _plant_forecasts(self, db, resource):
        if not resource.origins:
            return
        key = f"{resource.key}|ENGINE"
        [hk] = db.execute("SELECT capacity_ops.hash_key(%s)", [key]).fetchone()
        db.execute(
            "INSERT INTO capacity_planning.capacity_forecast_h VALUES (%s, %s, now(), 'test')", [hk, key]
        )
        ends = [*resource.origins[1:], None]
        for origin, end, days in zip(resource.origins, ends, resource.days, strict=True):
            if np.isnan(days).any():
                continue
            said = {
                f"p{p}": None if np.isinf(d) else float(d) for p, d in zip((10, 50, 90), days, strict=True)
            }
            db.execute(
                "INSERT INTO capacity_planning.capacity_forecast_s (capacity_forecast_hk, load_date, load_end_date, "
                "hash_diff, tenant_hk, forecast_timestamp, resource_type, resource_name, resource_category, method, "
                "current_usage, unit, current_capacity, forecast_model, model_parameters, record_source) "
                "VALUES (%s, %s, %s, '', %s, %s, %s, %s, 'TEST', 'ENGINE', 1, 'GiB', 100, 'test', %s, 'test')",
                [hk, origin.to_pydatetime(), end and end.to_pydatetime(), resource.tenant, origin.to_pydatetime(),
                 resource.kind, resource.name, json.dumps({"runway": {"critical": {"level": 90, **said}}})],
            )  # fmt: skip

    # Said here ---------------------------------------------------------------------------------------------------

    def fleet(self, tenant):
        """One owner's resources, as the replay is given them, and the evaluations that looked at them."""
        mine = [r for r in self.resources if r.tenant == tenant]
        measured = pd.concat([r.measured.assign(resource=r.key) for r in mine])
        evaluated = pd.DatetimeIndex(
            [t for n, t in enumerate(self.evaluated) if tenant or n not in self.alone]
        )
        by_key = sorted(mine, key=lambda r: r.key)
        runways = {}
        if by_key[0].origins:
            days = np.stack([r.days for r in by_key])
            runways = {90.0: Runway(rules.micros(by_key[0].origins), days)}
        return by_key, Fleet.of(
            measured,
            evaluated,
            hours={r.key: self.hours(r) for r in mine},
            stale_minutes=45,
            accumulating={r.key for r in mine if KINDS[r.kind]},
            runways=runways,
        )


def moment(value):
    return None if pd.isna(value) else int(rules.micros([value])[0])


def recorded(db, threshold_hk, resource):
    """Episodes and alerts of a pair, as the database keeps them."""
    hk = hashlib.sha256(resource.key.encode()).digest()
    rows = db.execute(
        "SELECT e.started_at, e.ended_at, e.ended_by, e.peak, e.held_by, a.raised_at, a.resolved_at, a.resolved_by, "
        "a.escalations, a.acknowledged_at, a.verdict, a.reached_at "
        "FROM capacity_alerting.episode e LEFT JOIN capacity_alerting.alert a ON a.alert_hk = e.episode_hk "
        "WHERE e.capacity_threshold_hk = %s AND e.resource_utilization_hk = %s ORDER BY e.started_at",
        [threshold_hk, hk],
    ).fetchall()
    return [
        (
            *(moment(row[n]) for n in (0, 1)), row[2], round(float(row[3]), 6), row[4], moment(row[5]), moment(row[6]),
            row[7], row[8] or 0, moment(row[9]), row[10], moment(row[11]),
        )
        for row in rows
    ]  # fmt: skip


def plainly(pair, fleet, row):
    """The same of `policy.Pair`."""
    mine = slice(fleet.first[row], fleet.first[row + 1])
    found = []
    for e in pair.episodes:
        raised = e.alert and e.alert.raised_at
        judged = rules.Judgement("OPEN")
        if e.alert:
            judged = rules.judge(
                pair.policy, e.alert.raised_at, fleet.measured_at[mine], fleet.utilization[mine],
                fleet.intervened[mine], horizon_days=HORIZON_DAYS, as_of=int(fleet.evaluated_at[-1]),
            )  # fmt: skip
        found.append(
            (
                e.started_at, e.ended_at, e.ended_by, round(float(e.peak), 6), e.held_by, raised,
                e.alert and e.alert.resolved_at, e.alert and e.alert.resolved_by, e.alert.escalations if e.alert else 0,
                e.alert and e.alert.acknowledged_at, judged.verdict if e.alert else None, judged.reached_at,
            )
        )  # fmt: skip
    return found


def signal(resource, policy, when):
    """What an evaluation sees of a resource: said anew, by the measurements alone."""
    known = [row for row in resource.rows if row[0] <= when]
    if not known:
        return np.nan
    measured_at, value, capacity = known[-1]
    since = (when - measured_at).total_seconds() / 60
    used = 100 * value / capacity
    if policy.condition == "ABSENCE":
        return since
    if policy.condition == "LEVEL":
        return np.nan if since > 45 else used
    if np.isnan(used):
        return np.nan
    if used >= policy.target:
        return 0.0
    issued = [n for n, o in enumerate(resource.origins) if o <= when and not np.isnan(resource.days[n]).any()]
    if not issued or when - resource.origins[issued[-1]] > pd.Timedelta(days=7):
        return np.nan
    ahead = resource.days[issued[-1]][(10, 50, 90).index(policy.probability)]
    return max(0.0, ahead - (when - resource.origins[issued[-1]]).total_seconds() / 86400)


def happenings(pair):
    """What evaluations made of a pair, each with its time."""
    for e in pair.episodes:
        yield "opened", e.started_at
        if e.ended_by == "RECOVERY":
            yield "ended", e.ended_at
        if e.alert:
            yield "raised", e.alert.raised_at
            yield from (("escalated", when) for when in e.alert.escalated_at)
            if e.alert.resolved_by == "auto":
                yield "resolved", e.alert.resolved_at


def drive(world, db, operator=None):
    """Every evaluation in the database and in the plain policy; `operator` may act after each. Returns the pairs."""
    keys = world.plant(db)
    pairs = {
        (t.name, t.tenant, r.key): (t, r, Pair(t.policy))
        for t in world.thresholds
        for r in world.resources
        if r.tenant == t.tenant and t.kind in (r.kind, "ALL")
    }
    stamps = rules.micros(pd.DatetimeIndex(world.evaluated))
    gates = {r.key: world.hours(r).gates(stamps) for r in world.resources}
    for n, when in enumerate(world.evaluated):
        scope = TENANT if n in world.alone else None
        db.execute(
            "SELECT count(*) FROM capacity_planning.evaluate_capacity_thresholds(%s, %s)",
            [scope, when.to_pydatetime()],
        )
        for threshold, resource, pair in pairs.values():
            if scope is None or threshold.tenant == scope:
                seen = signal(resource, threshold.policy, when)
                pair.evaluate(int(stamps[n]), seen, gates[resource.key][n])
        if operator:
            operator(n, when, keys, pairs)
    said = db.execute(
        "SELECT evaluated_at, opened, ended, raised, escalated, resolved FROM capacity_alerting.evaluation ORDER BY 1"
    ).fetchall()
    happened = Counter(found for _, _, pair in pairs.values() for found in happenings(pair))
    assert [row[1:] for row in said] == [tuple(happened[what, int(at)] for what in WHAT) for at in stamps]
    return keys, pairs


WHAT = ("opened", "ended", "raised", "escalated", "resolved")


def compared(world, db, keys, pairs, replayed=True):
    """Holds the three together, and counts what was compared."""
    count = dict.fromkeys(
        ("episodes", "alerts", "escalated", "held", "TRUE", "FALSE", "CENSORED", "OPEN", *HELD), 0
    )
    for tenant in (None, TENANT):
        resources, fleet = world.fleet(tenant)
        mine = [t for t in world.thresholds if t.tenant == tenant]
        wanted = [
            (n, row)
            for n, t in enumerate(mine)
            for row, r in enumerate(resources)
            if t.kind in (r.kind, "ALL")
        ]
        found = replay(
            fleet, [t.policy for t in mine], wanted, horizon_days=HORIZON_DAYS, detail=True
        ).episodes
        for n, row in wanted:
            threshold, resource = mine[n], resources[row]
            in_database = recorded(db, keys[threshold.name, tenant], resource)
            pair = pairs[threshold.name, tenant, resource.key][2]
            assert in_database == plainly(pair, fleet, row), (threshold, resource.key)
            if replayed:
                assert [
                    (
                        moment(e.start), moment(e.end), round(e.peak, 6), None if pd.isna(e.held_by) else e.held_by,
                        moment(e.raised_at), moment(e.resolved_at), e.escalations,
                        None if pd.isna(e.outcome) else e.outcome, moment(e.reached_at),
                    )
                    for e in found.query("policy == @n and resource == @row").itertuples()
                ] == [(*e[:2], *e[3:7], e[8], *e[10:]) for e in in_database], (threshold, resource.key)  # fmt: skip
            for e in in_database:
                count["episodes"] += 1
                count["alerts"] += e[5] is not None
                count["escalated"] += e[8] > 0
                for word in (e[4], e[10]):
                    if word:
                        count[word] += 1
    return count


HELD = ("DISABLED", "MUTED", "MAINTENANCE", "OUTSIDE_BUSINESS_HOURS", "SUPPRESSED", "ALREADY_ALERTED")


def test_levels(pg):
    """Operators, margins, slots, suppression, escalation, hours over a change of the clock, windows, mutes, gaps."""
    total: Counter[str] = Counter()
    with pg.connect() as db:
        for seed in (1, 2):
            world = World(seed)
            world.level_thresholds()
            with db.transaction(force_rollback=True):
                total.update(compared(world, db, *drive(world, db)))
    assert total["episodes"] > 150
    assert total["alerts"] > 100
    assert min(total[word] for word in ("escalated", "TRUE", "FALSE", "CENSORED", "OPEN")) > 0, total
    assert min(total[word] for word in HELD) > 0, total


def test_runways_and_absences(pg18):
    """By what had been forecast at the time, and by how long nothing was measured; over all types at once too."""
    world = World(7)
    origins = [at(m) for m in (-9 * 1440, 100, 500, 1300)]
    for resource in world.resources:
        resource.origins = origins
        resource.days = world.rng.choice([0.5, 5, 9.5, 10, 10.5, 12, 14, 30, np.inf], (4, 3))
        resource.days[world.rng.random(4) < 0.3] = (
            np.nan
        )  # no forecast from that origin: the one before stands
        resource.measured["capacity"] = 100.0  # forecasts are of one capacity
    for n in range(8):
        policy = replace(
            world._policy(10.0, "<=", 90.0),
            condition="RUNWAY",
            probability=(10, 90, 90)[n % 3],
            margin=float(world.rng.choice([0, 2])),
            alert_enabled=True,
        )
        kind = ("STORAGE", "CPU", "ALL")[int(world.rng.integers(3))]
        world.thresholds.append(Threshold(f"ahead {n}", kind, (None, TENANT)[n % 2], policy))
    for n in range(6):
        policy = replace(world._policy(45.0, ">", 100.0), condition="ABSENCE", alert_enabled=True)
        world.thresholds.append(
            Threshold(f"silent {n}", ("STORAGE", "ALL")[n % 2], (None, TENANT)[n // 3], policy)
        )
    for kind, tenant in [(k, t) for k in KINDS for t in (None, TENANT)]:
        world.thresholds.append(Threshold(f"critical {kind}", kind, tenant, Policy(90.0, target=100.0)))
    with pg18.connect() as db:
        keys, pairs = drive(world, db)
        count = compared(world, db, keys, pairs)
        told = {
            (t.policy.condition, e.alert is not None) for t, _, pair in pairs.values() for e in pair.episodes
        }
    assert {("RUNWAY", True), ("ABSENCE", True)} <= told
    assert count["episodes"] > 60
    assert count["TRUE"] > 0


def test_operators_acknowledge_and_resolve(pg18):
    """What an operator does between two evaluations: no more escalations, a new episode where the breach persists."""
    world = World(11)
    world.level_thresholds(8)
    acts = np.random.default_rng(12)
    done = {"acknowledge": 0, "resolve": 0}
    with pg18.connect() as db:

        def operator(n, when, keys, pairs):
            moment_after = when + pd.Timedelta(seconds=20)
            for (name, tenant, _), (_, resource, pair) in pairs.items():
                open_ = [a for a in pair.alerts if a.resolved_at is None]
                if not open_ or acts.random() > 0.12:
                    continue
                act = "resolve" if open_[0].acknowledged_at or acts.random() < 0.4 else "acknowledge"
                done[act] += 1
                hk = hashlib.sha256(resource.key.encode()).digest()
                db.execute(
                    f"SELECT capacity_alerting.{act}(a.alert_hk, 'operator', p_at => %s) "
                    "FROM capacity_alerting.alert a WHERE a.capacity_threshold_hk = %s "
                    "AND a.resource_utilization_hk = %s AND a.resolved_at IS NULL",
                    [moment_after.to_pydatetime(), keys[name, tenant], hk],
                )
                getattr(pair, act)(moment(moment_after))

        keys, pairs = drive(world, db, operator)
        compared(world, db, keys, pairs, replayed=False)
    assert min(done.values()) > 5


def test_a_page_of_the_replay_is_a_message_of_the_database(pg18):
    """What people are told at one evaluation of what fails together, by day and by night, escalations too."""
    world = World(3)
    world.resources = [world._resource(f"{kind} {n}", kind, None) for kind in KINDS for n in range(5)]
    world.windows, world.mutes, world.alone = [], [], set()
    called = Policy(80.0, escalation_minutes=90, suppression_minutes=60)
    world.thresholds = [Threshold(f"full {kind}", kind, None, called) for kind in KINDS]
    with pg18.connect() as db:
        db.execute("UPDATE capacity_ops.setting SET value = 1e6 WHERE name = 'notify_within_hours'")
        keys, _ = drive(world, db)
        told = {
            threshold.kind: db.execute(
                "SELECT DISTINCT n.notification_hk, n.queued_at FROM capacity_alerting.notification_s n "
                "JOIN capacity_alerting.notification_alert_l k ON k.notification_hk = n.notification_hk "
                "JOIN capacity_alerting.alert a ON a.alert_hk = k.alert_hk WHERE n.load_end_date IS NULL "
                "AND n.kind IN ('ALERT', 'ESCALATION') AND a.capacity_threshold_hk = %s",
                [keys[threshold.name, None]],
            ).fetchall()
            for threshold in world.thresholds
        }
    resources, fleet = world.fleet(None)
    fleet = replace(fleet, family_of=np.array([list(KINDS).index(r.kind) for r in resources]))
    for threshold in world.thresholds:
        pairs = [(0, row) for row, r in enumerate(resources) if r.kind == threshold.kind]
        scores = replay(fleet, [threshold.policy], pairs).scores.iloc[0]
        times = rules.micros([when for _, when in told[threshold.kind]])
        assert scores["pages"] == len(times)
        assert scores["night_pages"] == world.calendars[None].night(times).sum() > 0
        assert scores["alerts"] + scores["escalations"] > len(times), "some of them told of several"


def test_a_breach_is_one_wherever_the_share_lies_on_the_line(pg):
    """At the level, just beside it, beyond all that is held, and where the capacity is not known."""
    shares = [0.0, 79.99, 80.0, 80.01, 100.0, 140.0, np.nan]
    with pg.connect() as db:
        world = World(1)
        known = [(100.0, np.nan) if np.isnan(share) else (share, 100.0) for share in shares]
        world.resources = [
            Resource(
                f"at {n}",
                "STORAGE",
                None,
                pd.DataFrame({"measured_at": [START], "value": [value], "capacity": [capacity]}),
            )
            for n, (value, capacity) in enumerate(known)
        ]
        world.evaluated, world.alone = [at(1)], set()
        for operator in (">=", ">", "<=", "<"):
            world.thresholds.append(
                Threshold(operator, "STORAGE", None, Policy(80.0, operator=operator, target=90.0))
            )
        keys, pairs = drive(world, db)
        for threshold, resource, pair in pairs.values():
            assert [e[0] for e in recorded(db, keys[threshold.name, None], resource)] == [
                e.started_at for e in pair.episodes
            ]
    begun = [
        sum(len(p.episodes) for t, _, p in pairs.values() if t.name == o) for o in (">=", ">", "<=", "<")
    ]
    assert begun == [4, 3, 3, 2]
