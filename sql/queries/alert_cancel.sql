-- A maintenance window is taken back.
SELECT capacity_alerting.cancel_maintenance(p_maintenance_id => :number);
