-- Which of the links that a message may carry are not set, and so left out of each.
SELECT s.name
FROM capacity_alerting.text_setting s
WHERE s.name IN ('runbook_url', 'report_url') AND coalesce(s.value, '') = ''
ORDER BY s.name DESC;
