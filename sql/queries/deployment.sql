-- Which step files were applied, in which version, when and by whom.
SELECT step, version, applied_at, applied_by FROM capacity_ops.deployment ORDER BY step;
