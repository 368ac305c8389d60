-- Grouping by an expression off the key; HAVING; an aggregate with a constant.
CREATE STREAM s (id INT KEY, g VARCHAR, v BIGINT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE c AS SELECT LCASE(g) AS g, COUNT(*) AS n, SUM(v) AS total, AVG(v) AS mean, TOPK(v, 2) AS top, LATEST_BY_OFFSET(id) AS latest
  FROM s GROUP BY LCASE(g) HAVING COUNT(*) > 1;
----
INSERT INTO s VALUES (1, 'a', 1), (2, 'A', 3), (3, 'a', 2), (4, 'b', 5), (5, 'b', 7), (6, 'C', 9);
SELECT g, n, total, mean, top, latest FROM c ORDER BY g;
----
a|3|6|2.0|[3, 2]|3
b|2|12|6.0|[7, 5]|5
