"""Carry series from the vault through the growth engine and back: here, in processes, or on somebody's cluster.

- `chunks`: what travels: some resources and their measurements;
- `grids`: from measurements to regular series of days and hours;
- `company`: what a series hears of others of its type and of its tenant;
- `totals`: tenants' forecasts and a rest made to add up to the system's;
- `work`: what a worker runs, a chunk in, a record a resource out;
- `local`, `dask`, `spark`: where it runs; each a :data:`~capacity_kit.analysis.local.Map`;
- `run`: a first pass over all series, then reads chunks, has them worked on, records them.
"""
