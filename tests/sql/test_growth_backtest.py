"""The analysis in SQL against the same rules worked out one series at a time in numpy."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)


def daily(days, values):
    """Days back k, mean time x and median y of each day, oldest first; days are days before the newest measurement."""
    age = np.round(np.asarray(days) * 86400)
    offset = 0 if len(age) > 1.5 * age.max() / 86400 else 0.5
    k = np.floor(age / 86400 + offset).astype(int)
    back = np.unique(k)[::-1]
    x = np.array([-age[k == b].mean() / 86400 for b in back])
    y = np.array([np.median(np.asarray(values)[k == b]) for b in back])
    return back, x, y


def shifts(k, x, y, all_k, all_y):
    """Level shifts as {position: jump}."""
    known = dict(zip(all_k, all_y, strict=True))
    step = {b: known[b] - known[b + 1] for b in known if b + 1 in known}
    move, gap = np.diff(y), np.diff(x)
    rate = np.median(move / gap)
    positive = (y[1:] > 0) & (y[:-1] > 0)
    ratio = np.median((np.log(y[1:] / y[:-1]) / gap)[positive]) if positive.any() else None
    news = [np.nan]
    for i, m in enumerate(move, 1):
        explained = [m - rate * gap[i - 1]]
        if ratio is not None:
            explained.append(y[i] - y[i - 1] * math.exp(ratio * gap[i - 1]))
        if k[i] in step and k[i] + 7 in step:
            explained.append(step[k[i]] - step[k[i] + 7])
        news.append(min(explained, key=abs))
    u = np.array(news)
    floor = max(6 * 1.4826 * np.median(np.abs(u[1:])), 0.01 * abs(np.median(y)), 1e-150)
    lasting = {}
    for i in range(1, len(y)):
        if abs(u[i]) <= floor:
            continue
        after, before = range(i, min(i + 7, len(y))), range(max(0, i - 7), i)
        if len(after) < 2 or len(before) < 2:
            continue
        level = y - rate * (x - x[i])
        plain = np.median(level[list(after)]) - np.median(level[list(before)])
        weeks = [y[j] - known[k[j] + 7] - 7 * rate for j in after if k[j] + 7 in known and k[j] + 7 > k[i]]
        weekly = np.median(weeks) if weeks else None
        enough = max(floor, abs(u[i]) * 2 / 3)
        if any(np.sign(j) != np.sign(u[i]) or abs(j) < enough for j in (plain, weekly) if j is not None):
            continue
        lasting[i] = weekly if weekly is not None and len(after) < 7 else plain
    weight = {i: abs(u[i]) * (1 + 1e-9 * (i + 1)) for i in lasting}
    return {
        i: j for i, j in lasting.items() if weight[i] == max(w for n, w in weight.items() if abs(n - i) <= 3)
    }


def theil_sen(x, y):
    n = len(x)
    lags = [n // 2 // 7 * 7, n * 2 // 3 // 7 * 7] if n >= 14 else [n // 2, n * 2 // 3]
    return np.median(np.concatenate([(y[lag:] - y[:-lag]) / (x[lag:] - x[:-lag]) for lag in lags]))


def fit(k, x, y, all_k, all_y):
    """Model, level and slope at x = 0, and the season by days back modulo 7. None where data is insufficient."""
    if len(k) < 7 or k.max() - k.min() < 13:
        return None
    size = np.median(y)
    found = shifts(k, x, y, all_k, all_y)
    z = y.copy()
    for i, jump in found.items():
        z[:i] += jump
    start = max(found, default=0)
    length = x[-1] - x[start]
    used = slice(start, None) if (not found or (len(y) - start >= 14 and length >= 20)) else slice(None)
    pooled = bool(found) and used.start is None
    k, x, z = k[used], x[used], z[used]
    n = len(z)
    b = theil_sen(x, z)
    c = np.median(z - b * x)
    logarithmic = z.min() > 0 and not pooled
    if logarithmic:
        bl = theil_sen(x, np.log(z))
        cl = np.median(np.log(z) - bl * x)
    season, middle, r = None, 0.0, z - b * x - c
    days = [r[k % 7 == w] for w in range(7)]
    if n >= 21 and min(map(len, days)) >= 3:
        part = np.array([np.median(d) for d in days])
        total = np.abs(r).sum() / (n - 1)
        if total and np.abs(r - part[k % 7]).sum() / (n - 7) / total < 0.7:
            middle, season = part.mean(), part - part.mean()
    d = z - (season[k % 7] if season is not None else 0)
    c += middle
    eps = max(1e-9 * abs(size), 1e-150)
    e = d - c - b * x
    model, change = "LINEAR", b * (x[-1] - x[0])
    yearly = b * 365
    if logarithmic:
        e2 = d - middle - np.exp(cl + bl * x)
        mae1, mae2 = (max(np.abs(v).mean(), eps) for v in (e, e2))
        if 2 * n * math.log(mae1 / mae2) > 10 and np.abs(e2).mean() < 0.9 * np.abs(e).mean():
            model, e = "EXPONENTIAL", e2
            change = math.exp(cl) - math.exp(cl - bl * (x[-1] - x[0]))
            yearly = math.exp(cl) * math.expm1(bl * 365)
    mad = np.median(np.abs(e))
    sigma = max(eps, 1.4826 * mad if mad > eps else 1.2533 * np.abs(e).mean())
    rho = min(0.95, max(0, (e[1:] * e[:-1]).sum() / (e * e).sum())) if (e * e).sum() else 0
    line = d - c - b * x  # cycles are looked for in what the line leaves

    def apart(lag):
        return np.abs(line[lag:] - line[:-lag]).mean()

    cycle = None
    error = np.abs(line).mean()
    if season is None and error >= 0.01 * abs(size):
        if n >= 28 and apart(14) < 0.7 * error and apart(14) < 0.5 * apart(7):
            cycle = 14
        elif n >= 60 and apart(30) < 0.7 * error and apart(30) < 0.5 * apart(15):
            cycle = 30
    significance = abs(change) / (sigma * math.sqrt(12 * (1 + rho) / (1 - rho) / n))
    if significance < 3 or abs(yearly) < 0.01 * abs(size) or change == 0:
        model = "LEVEL"
    last = cycle or (3 if np.abs(np.diff(e)).mean() < 0.9 * np.abs(e).mean() else 14)
    if model == "LEVEL":
        return model, max(0, np.median(d[-last:])), 0.0, season
    if model == "LINEAR":
        return model, max(0, c + np.median(e[-last:])), b, season
    return model, max(0, math.exp(cl) + np.median((e + middle)[-last:])), bl, season


def project(fitted, back, days):
    model, level, slope, season = fitted
    trend = level * math.exp(slope * days) if model == "EXPONENTIAL" else level + slope * days
    return max(0, trend + (season[back % 7] if season is not None else 0))


def window(series, origin, days):
    k, x, y = series
    inside = (k >= origin) & (k < origin + days)
    return fit(k[inside], x[inside] + origin, y[inside], k, y)


def backtest(series, days):
    """WAPE by horizon, percent."""
    k, x, y = series
    first = k.max() - 13
    newest = 30 if first >= 32 else 7
    apart = next(2**n for n in range(20) if 10 * 2**n > first - newest)
    today = AS_OF.timestamp() // 86400
    origins = [o for o in range(newest, first + 1) if (today - o) % apart == 0]
    assert 5 <= len(origins) <= 10
    errors = {7: [], 30: [], 90: []}
    for o in origins:
        fitted = window(series, o, max(days, 14))
        for horizon, seen in errors.items():
            at = np.flatnonzero(k == o - horizon)
            if fitted and at.size:
                seen.append((abs(project(fitted, int(k[at[0]]), x[at[0]] + o) - y[at[0]]), y[at[0]]))
    return {h: 100 * sum(e for e, _ in s) / sum(a for _, a in s) if s else None for h, s in errors.items()}


def many(rng):
    """Series of all kinds, quarter-daily over 60 days or daily over most of a year."""
    for span, step in ((60, 0.25), (300, 1.0)):
        t = np.arange(0, span + step / 2, step)
        noise = rng.normal(size=t.size)
        yield f"line {span}", t, 40e9 + 1e9 * t * 60 / span + 2e9 * noise
        yield f"compound {span}", t, 20e9 * 1.2 ** (t * 6 / span) * (1 + 0.02 * noise)
        yield f"walk {span}", t, 50e9 + 0.5e9 * np.cumsum(noise)
        yield f"noise {span}", t, 50e9 * np.exp(0.4 * noise)
        yield f"week {span}", t, 50e9 + 0.1e9 * t + 10e9 * (np.floor(t) % 7 < 5) + 0.5e9 * noise
        yield f"month {span}", t, 50e9 + 6e9 * np.sin(2 * np.pi * t / 30) + 1e8 * noise
        yield (
            f"cleanups {span}",
            t,
            40e9 + 1e9 * t + 3e8 * noise - 15e9 * (t > span * 0.4) - 20e9 * (t > span * 0.7),
        )
        yield f"steps {span}", t, 50e9 + 0.5e9 * np.cumsum(np.abs(noise) > 1.8)
        yield f"shrinking {span}", t, 90e9 * 0.99**t + 1e9 * np.abs(noise)
        yield f"tiny {span}", t, 1e-12 * (40 + t + noise)
        yield f"huge {span}", t, 1e30 * (40 + t + noise)


@pytest.mark.parametrize("days", [30, 90])
def test_agrees_with_numpy_series_by_series(bench, days):
    planted = {}
    for name, t, values in many(np.random.default_rng(11)):
        keep = np.ones(t.size, bool)
        if t[1] == 1:
            keep = np.random.default_rng(5).random(t.size) > 0.1  # a tenth of the days is missing
            keep[[0, -1]] = True
        bench.plant(name, t.max() - t[keep], values[keep])
        planted[name] = daily(t.max() - t[keep], values[keep])
    rows = bench.analyze(days=days)
    assert set(rows) == set(planted)
    models = set()
    for name, series in planted.items():
        row, fitted, errors = rows[name], window(series, 0, days), backtest(series, days)
        models.add(fitted[0])
        assert row["forecast_model"] == fitted[0] + ("+WEEKLY" if fitted[3] is not None else ""), name
        for horizon, column in (
            (7, "forecast_7d"),
            (30, "forecast_30d"),
            (90, "forecast_90d"),
            (365, "forecast_1y"),
        ):
            assert float(row[column]) == pytest.approx(project(fitted, -horizon, horizon), rel=1e-9), (
                name,
                column,
            )
        for horizon, wape in errors.items():
            stored = row[f"wape_{horizon}d"]
            assert (stored is None) == (wape is None), (name, horizon)
            assert wape is None or float(stored) == pytest.approx(wape, abs=6e-5), (name, horizon)
        assert float(row["confidence_level"]) == pytest.approx(max(0, 100 - errors[30]), abs=6e-3), name
    assert models == {"LEVEL", "LINEAR", "EXPONENTIAL"}
