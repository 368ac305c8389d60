-- A re-keyed stream beside a table, padded with nulls.
CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR) WITH (KAFKA_TOPIC='items', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE STREAM orders (o INT KEY, item INT, amount INT) WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE STREAM c AS SELECT orders.item AS item, o, amount, i.name AS name FROM orders LEFT JOIN items i ON orders.item = i.id;
----
INSERT INTO items (ROWTIME, id, name) VALUES (0, 1, 'tea');
INSERT INTO orders (ROWTIME, o, item, amount) VALUES (10, 7, 1, 5);
INSERT INTO orders (ROWTIME, o, item, amount) VALUES (11, 8, 2, 6);
SELECT item, o, amount, name FROM c ORDER BY o;
----
1|7|5|tea
2|8|6|
