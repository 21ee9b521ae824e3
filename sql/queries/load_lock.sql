-- Of two loads at once the second waits here, then sees what the first stored: reading runs side by side, recording does not.
SELECT pg_advisory_xact_lock(hashtextextended('capacity_planning:load', 0))
