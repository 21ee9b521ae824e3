"""Every figure draws what its frame holds, says it in words from the same numbers, and reads no name as markup."""

from __future__ import annotations

import io
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from capacity_kit import plots

GIB = 2**30
EVIL = r"<script>alert($x_1^{</script> \frac{ $"
DAYS = pd.date_range("2026-01-01", periods=100, freq="D", tz="UTC")


@pytest.fixture
def measured():
    """A hundred days that grow by 1 GiB a day from 100 GiB, with 300 GiB of capacity."""
    return pd.DataFrame(
        {
            "measured_at": DAYS,
            "value": (100 + np.arange(100.0)) * GIB,
            "capacity": 300.0 * GIB,
            "unit": "bytes",
            "resource_type": "STORAGE",
            "resource_name": "documents",
            "tenant": EVIL,
        }
    )


@pytest.fixture
def outlook():
    ahead = {column: (199 + days) * GIB for column, days in plots.HORIZONS.items()}
    shift = [{"at": "2026-02-01T00:00:00+00:00", "change": 1.0}]
    return pd.Series(
        {
            **ahead,
            "growth_per_day": 1.0 * GIB,
            "regime_start": DAYS[31],
            "pattern_breaks": shift,
            "wape_30d": 2.345,
        }
    )


def drawn(plot: plots.Plot) -> bytes:
    """The figure as a PNG, without a word of warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = io.BytesIO()
        plot.ax.figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


def words(plot: plots.Plot) -> list[str]:
    return [text.get_text() for text in plot.ax.texts]


def test_history_says_and_shows_the_same_numbers(measured, outlook):
    plot = plots.history(measured, outlook, warning=80, critical=90)
    assert "from 100 GiB on 2026-01-01 to 199 GiB on 2026-04-10" in plot.alt
    assert "66.3 % of the capacity of 300 GiB" in plot.alt
    assert "229 GiB in 30 days" in plot.alt
    assert "1 level shift, the last on 2026-02-01" in plot.alt
    assert "Backtested error at 30 days: 2.3 %" in plot.alt
    assert {
        "capacity 300 GiB",
        "critical 270 GiB",
        "warning 240 GiB",
        "30 d: 229 GiB",
        "90 d: 289 GiB",
    } <= set(words(plot))
    assert drawn(plot).startswith(b"\x89PNG")


def test_the_trend_is_the_analysis_slope_through_the_regime(measured, outlook):
    lines = plots.history(measured, outlook).ax.lines
    (trend,) = [line for line in lines if line.get_linewidth() == 2.2]
    low, high = trend.get_ydata()
    assert high == pytest.approx(199 * GIB)
    assert low == pytest.approx(131 * GIB), "31 days after the beginning"


@pytest.fixture
def by_engine(outlook):
    """The same forecast by the engine, with bands that widen; full by the 300th day with all chances but one in ten."""
    quantiles = {str(d): [(199 + d + k * d / 10) * GIB for k in range(-3, 4)] for d in (7, 30, 90, 365)}
    chances = {"7": 0, "30": 0, "90": 0.2, "365": 0.89}
    runway = {"level": 300 * GIB, "p10": 80, "p50": 100, "p90": None, "by": chances}
    engine = {
        "origin": DAYS[-1].isoformat(),
        "issued_at": DAYS[-1],
        "passed": 0,
        "level": 199.0 * GIB,
        "quantiles": quantiles,
        "runway": {"capacity": runway},
    }
    return pd.concat([outlook, pd.Series({"method": "ENGINE", "engine": engine})])


def test_history_shows_the_engines_bands_and_says_its_chances(measured, by_engine):
    plot = plots.history(measured, by_engine)
    outer, inner = (polygon.get_paths()[0].vertices for polygon in plot.ax.collections)
    at_last = outer[:, 0].max()
    assert sorted({round(y / GIB, 1) for x, y in outer if x == at_last}) == [454.5, 673.5]
    assert sorted({round(y / GIB, 1) for x, y in inner if x == at_last}) == [527.5, 600.5]
    assert not [line for line in plot.ax.lines if line.get_linewidth() == 2.2], (
        "no trend: the engine has its own"
    )
    assert "The engine's band of 9 in 10: 204 GiB to 208 GiB in 7 days" in plot.alt
    assert plot.alt.endswith(
        "Chances to be full: 1 in 10 by 2026-06-29, even by 2026-07-19, 9 in 10 later than a year."
    )
    drawn(plot)


def test_the_engines_bands_are_there_where_the_databases_forecast_is_shown(measured, by_engine):
    plot = plots.history(measured, by_engine.replace({"ENGINE": "SQL"}))
    assert len(plot.ax.collections) == 2
    assert [line for line in plot.ax.lines if line.get_linewidth() == 2.2]


def test_a_band_that_leaves_every_scale_is_cut(measured, by_engine):
    by_engine["engine"]["quantiles"]["365"][-1] = 1e6 * GIB
    assert plots.history(measured, by_engine).ax.get_ylim()[1] < 2.5 * by_engine["forecast_1y"]


def test_history_alone_needs_neither_forecast_nor_capacity(measured):
    plot = plots.history(measured.assign(capacity=np.nan))
    assert "capacity is not known" in plot.alt
    assert "Forecast" not in plot.alt
    drawn(plot)


def test_a_level_far_above_is_left_to_words(measured):
    plot = plots.history(measured.assign(capacity=1e6 * GIB), warning=80, critical=90)
    assert not [text for text in words(plot) if text.startswith("capacity")]
    assert "of the capacity of" in plot.alt


def test_capacity_is_drawn_as_it_was(measured):
    measured.loc[measured.index >= 50, "capacity"] = 400.0 * GIB
    plot = plots.history(measured, warning=80)
    steps = {float(value) for line in plot.ax.lines for value in np.asarray(line.get_ydata(), dtype=float)}
    assert {300.0 * GIB, 400.0 * GIB} <= steps


def test_the_readers_time_zone_is_on_the_axis(measured):
    short = measured.head(3)
    ticks = {}
    for zone in ("UTC", "Pacific/Auckland"):
        axis = plots.history(short, timezone=zone).ax.xaxis
        ticks[zone] = [label.get_text() for label in axis.get_ticklabels()]
    assert ticks["UTC"] != ticks["Pacific/Auckland"]


def runways() -> pd.DataFrame:
    rows = [
        ("STORAGE", 12.0, 1.0, 1.0, "12 days"),
        ("ROWS", 0.0, 1.0, 1.0, "now"),
        ("USERS", 500.0, 1.0, 1.0, "more than 365 days"),
        ("CPU", np.nan, 1.0, -1.0, "not growing"),
        ("MEMORY", np.nan, np.nan, 1.0, "capacity unknown"),
        ("WAL", np.nan, 1.0, np.nan, "too little history"),
        ("DISK", np.nan, 1.0, 0.5, "not in sight"),
    ]
    names = ["resource_type", "time_to_capacity_days", "capacity", "growth_per_day", "said"]
    return pd.DataFrame(rows, columns=names).assign(resource_name=EVIL, tenant=EVIL)


def test_runway_says_in_words_what_has_no_bar():
    plot = plots.runway(runways())
    labels = [label.get_text().split(" ")[0] for label in plot.ax.get_yticklabels()]
    assert labels[:3] == ["Rows", "Storage", "Users"], "the shortest first"
    assert set(words(plot)) == set(runways()["said"])
    assert "The capacity of 1 is not known" in plot.alt
    drawn(plot)


def test_runway_tells_the_engines_spread(by_engine):
    def row(**runway):
        engine = by_engine["engine"]
        capacity = {**engine["runway"]["capacity"], **runway}
        return {"method": "ENGINE", "engine": {**engine, "runway": {"capacity": capacity}}}

    rows = runways().head(1).drop(columns="said")
    cases = [
        (100.0, row(p90=200), "100 days (80 to 200)"),
        (100.0, row(), "100 days (80 to over 365)"),
        (np.nan, row(), "not within a year (89 %)"),
        (np.nan, row(p10=None, by={"365": 0.001}), "not within a year (< 1 %)"),
        (100.0, {"method": "SQL", "engine": None}, "100 days"),
    ]
    for days, other, said in cases:
        plot = plots.runway(pd.DataFrame([{**rows.iloc[0], "time_to_capacity_days": days, **other}]))
        assert words(plot) == [said]
        drawn(plot)


def test_runway_states_how_many_it_leaves_out():
    plot = plots.runway(pd.concat([runways()] * 10), top=5)
    assert len(plot.ax.patches) == 5
    assert plot.ax.get_title(loc="left") == "Runway: the 5 shortest of 70"
    assert "5 of 70" in plot.alt


def test_the_narrow_runway_says_the_same_in_half_the_width():
    wide, narrow = plots.runway(runways()), plots.runway(runways(), narrow=True)
    assert narrow.alt == wide.alt
    assert set(words(wide)) < set(words(narrow)), "its names stand above the bars too"
    assert not any(label.get_text() for label in narrow.ax.get_yticklabels())
    assert narrow.ax.figure.get_figwidth() == wide.ax.figure.get_figwidth() / 2
    assert [bar.get_width() for bar in narrow.ax.patches] == [bar.get_width() for bar in wide.ax.patches]
    drawn(narrow)


def test_threshold_history_counts_its_outcomes():
    measured = pd.DataFrame({"measured_at": DAYS, "utilization": np.linspace(50, 95, 100)})
    alerts = pd.DataFrame(
        {
            "start": DAYS[[60, 70, 80]],
            "end": [DAYS[65], DAYS[75], pd.NaT],
            "outcome": ["true", "false", "open"],
        }
    )
    plot = plots.threshold_history(measured, alerts, level=80, name=EVIL)
    assert "3 alerts: 1 followed by what they warned of, 1 not, 1 still undecided" in plot.alt
    assert {"▼ 1 true", "▼ 1 false", "▼ 1 open", "threshold 80 %"} <= set(words(plot))
    drawn(plot)


def test_ledger_counts_what_came_within_the_target_and_draws_the_wild_ones_at_the_edge():
    issued = pd.DataFrame(
        {
            "target_at": DAYS[:4],
            "forecast": [110.0, 120.0, 500.0, 100.0],
            "measured": [100.0, 100.0, 100.0, np.nan],
            "resource_type": "STORAGE",
            "resource_name": "documents",
        }
    )
    plot = plots.ledger(issued)
    assert plot.alt.startswith("3 forecasts made 30 days ahead: 33.3 % came within 15 %")
    assert "the median error is 20.0 %, the largest 400.0 % (Storage documents, 2026-01-03)" in plot.alt
    assert plot.alt.endswith("Drawn at the edge, beyond 60 %: 1.")
    assert max(np.max(line.get_ydata()) for line in plot.ax.lines if len(line.get_ydata())) == 60
    drawn(plot)


@pytest.mark.parametrize(
    "plot",
    [
        lambda: plots.history(pd.DataFrame()),
        lambda: plots.runway(pd.DataFrame()),
        lambda: plots.ledger(pd.DataFrame({"measured": [], "forecast": []})),
        lambda: plots.threshold_history(
            pd.DataFrame({"measured_at": DAYS, "utilization": np.nan}), pd.DataFrame(), level=80, name="x"
        ),
    ],
    ids=["history", "runway", "ledger", "threshold"],
)
def test_nothing_to_draw_is_said(plot):
    made = plot()
    assert words(made) == [made.alt]
    drawn(made)


def test_a_resource_without_measurements_is_named():
    row = pd.Series({"resource_type": "CPU", "resource_name": "host", "tenant": "Harbour"})
    assert plots.history(pd.DataFrame(), row).alt == "CPU host · Harbour: no measurements in this period."


def test_names_are_drawn_as_they_are_and_no_global_state_is_touched(measured):
    before = dict(mpl.rcParams)
    plot = plots.history(measured)
    assert "$x_1" in plot.ax.get_title(loc="left")
    drawn(plot)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
