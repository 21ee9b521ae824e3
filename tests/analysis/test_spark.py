from capacity_kit.analysis import run
from capacity_kit.analysis.spark import session
from capacity_kit.vault.forecasts import Recorded


def test_spark_in_local_mode_says_what_this_process_says(own, close):
    with own.vault() as store:
        here = [r for d in run.analyse(store, as_of="2026-11-01", size=8, dry_run=True) for r in d.records]
        with session(2) as over:
            done = list(run.analyse(store, as_of="2026-11-01", size=8, over=over))
    assert close([r for d in done for r in d.records], here)
    assert [d.recorded for d in done] == [Recorded(recorded=8)] * 5
