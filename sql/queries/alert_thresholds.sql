-- The active thresholds of a name: of one tenant, of the system alone, or of whoever has one.
SELECT encode(s.capacity_threshold_hk, 'hex') AS threshold
FROM capacity_planning.capacity_threshold_s s
WHERE s.load_end_date IS NULL AND s.is_active IS NOT FALSE AND s.threshold_name = :threshold_name
  AND (CAST(:tenant AS text) IS NULL OR s.tenant_hk = decode(CAST(:tenant AS text), 'hex')) AND (NOT :system_only OR s.tenant_hk IS NULL);
