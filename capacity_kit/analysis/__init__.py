"""Carry series from the vault through the growth engine and back: here, in processes, or on somebody's cluster.

- `chunks`: what travels: some resources and their measurements;
- `work`: the one function that a worker runs, a chunk in, a record a resource out;
- `local`, `dask`, `spark`: where it runs; each a :data:`~capacity_kit.analysis.local.Map`;
- `run`: reads chunks, has them worked on, records them.
"""
