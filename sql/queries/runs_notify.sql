-- Queue what a recipient is told of a report, in the transaction that records its run.
SELECT capacity_alerting.enqueue_notification(p_key => :key, p_kind => 'REPORT', p_channel => :channel, p_contact => CAST(:contact AS text),
           p_severity => :severity, p_subject => :subject, p_body => :body, p_dedup_key => :key,
           p_queued_at => CAST(:due_at AS timestamptz), p_attachment => CAST(:attachment AS text)) AS notification_hk;
