-- Whether this project's mark is in the database: how a schema is known for ours before it is read or written.
SELECT to_regclass('capacity_ops.deployment') IS NOT NULL AS present;
