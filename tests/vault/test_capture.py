"""A capture on the server's host: what PostgreSQL cannot know of it is recorded like all the rest."""

from __future__ import annotations

from capacity_kit.vault import capture as captures


def test_the_hosts_disk_is_recorded_like_what_the_server_measured(pg):
    with pg.vault() as opened:
        for _ in range(2):
            shown = captures.capture(opened, "SYSTEM", "yes")
    assert {"STORAGE", "DISK"} <= set(shown["resource_type"])
    disk = "FROM capacity_planning.resource_utilization_s WHERE resource_type = 'DISK' ORDER BY measurement_timestamp"
    rows = pg.rows(
        "SELECT peak_value_30d >= current_value, minimum_value_24h <= current_value, monitoring_frequency_seconds, "
        "record_source, "
        f"status, system_identifier = (SELECT system_identifier FROM pg_control_system()), data_quality_score {disk}"
    )
    assert rows[-1] == (True, True, 900, "HOST:psutil", rows[-1][4], True, 100)
    assert rows[-1][4] in ("NORMAL", "WARNING", "CRITICAL")
    kinds = pg.rows(
        "SELECT resource_type, count(DISTINCT record_source) FROM capacity_planning.resource_utilization_s "
        "WHERE resource_type IN ('MEMORY', 'DISK') GROUP BY 1 ORDER BY 1"
    )
    assert kinds == [("DISK", 1), ("MEMORY", 1)], "what the server measured itself is not measured twice"


def test_all_shows_what_was_recorded_of_everybody(pg):
    pg.run("INSERT INTO auth.tenant_h VALUES (sha256('a'::bytea), 'a', now(), 'test')")
    with pg.vault() as opened:
        shown = captures.capture(opened, "ALL", "yes")
    assert {"STORAGE", "ROWS", "DISK"} <= set(shown["resource_type"])
    assert shown["tenant_hk"].notna().any()
