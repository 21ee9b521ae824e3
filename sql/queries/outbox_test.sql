-- A message for trying a channel, queued as any other.
SELECT capacity_alerting.enqueue_notification(p_key => :key, p_kind => 'TEST', p_channel => :channel, p_contact => CAST(:contact AS text),
           p_severity => 'INFO', p_subject => :subject, p_body => :body, p_dedup_key => :key, p_queued_at => clock_timestamp()) AS notification_hk;
