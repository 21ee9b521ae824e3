-- What a sender is lent for a while, of what is due: nobody else takes it meanwhile, once this is committed.
SELECT c.*
FROM capacity_alerting.claim_notifications(p_sender => :sender, p_limit => :limit, p_lease_seconds => :lease, p_except => CAST(:excluded AS text[]),
         p_channels => CAST(:channels AS text[])) c;
