-- A row per element, under another key.
CREATE STREAM s (id INT KEY, tags ARRAY<VARCHAR>) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE STREAM c AS SELECT EXPLODE(tags) AS tag, id FROM s PARTITION BY id;
----
INSERT INTO s VALUES (1, ARRAY['a', 'b']);
INSERT INTO s VALUES (2, ARRAY['c']);
SELECT id, tag FROM c ORDER BY id, tag;
----
1|a
1|b
2|c
