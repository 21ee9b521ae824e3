-- The server's clock: hosts whose own clocks differ agree on what is due.
SELECT clock_timestamp() AS now;
