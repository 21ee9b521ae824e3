-- The platform's daily procedure: capture, analyse, make the default thresholds that are missing, evaluate.
CALL capacity_planning.run_capacity_analysis(decode(CAST(:tenant AS text), 'hex'), true);
