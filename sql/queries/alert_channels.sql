-- The channels that people are told by, and which of them are told where a threshold names none.
SELECT c.name, c.is_default, c.description
FROM capacity_alerting.channel c
ORDER BY c.is_default DESC, c.name;
