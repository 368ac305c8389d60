-- A table joined with a table, then grouped by another column.
CREATE TABLE a (id INT PRIMARY KEY, g VARCHAR, v INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE b (id INT PRIMARY KEY, w INT) WITH (KAFKA_TOPIC='b', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE ab AS SELECT a.id AS id, g, v + w AS s FROM a JOIN b ON a.id = b.id;
CREATE TABLE c AS SELECT g, COUNT(*) AS n, SUM(s) AS total FROM ab GROUP BY g;
----
INSERT INTO a VALUES (1, 'x', 1);
INSERT INTO b VALUES (1, 10);
INSERT INTO a VALUES (2, 'x', 2);
INSERT INTO b VALUES (2, 20);
INSERT INTO a VALUES (2, 'y', 3);
SELECT g, n, total FROM c ORDER BY g;
----
x|1|11
y|1|23
