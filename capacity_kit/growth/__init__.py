"""Think: what a series will do next, how sure that is, and when it reaches a level.

Pure functions of arrays: no input or output, no clock, no randomness at all, so the same series has the same forecast
on every machine and in every batch.

- `lines`: straight lines, and the time they take to a level;
- `series`: irregular measurements onto a regular grid, counters into rates;
- `regimes`: level shifts and resets, found; shifts taken out;
- `models`: quantiles of the future, each model from its own idea of what stays the same;
- `sawtooth`: a model of growth that is reset again and again, under the envelope of its peaks;
- `calendar`: ends of months and holidays, taken out and put back;
- `calibrate`: bands as wide as the shortness of the past demands;
- `runway`: paths and the first passage of a level;
- `engine`: the models weighed by backtest into one forecast, for a batch of series;
- `reconcile`: parts and whole made to agree;
- `backtest`: the whole engine judged on the series' own past;
- `explain`: a forecast in a sentence.
"""

from capacity_kit.growth.calendar import Calendar
from capacity_kit.growth.engine import Forecast, Prior, forecast, learn

__all__ = ["Calendar", "Forecast", "Prior", "forecast", "learn"]
