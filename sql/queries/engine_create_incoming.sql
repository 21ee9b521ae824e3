-- What the engine found for one chunk of resources, a document each, on its way into the satellites.
CREATE TEMPORARY TABLE engine_incoming (document jsonb NOT NULL) ON COMMIT DROP;
