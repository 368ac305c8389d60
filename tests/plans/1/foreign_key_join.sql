-- A table joined with a table on a column of the left one; rows without a right one are kept, then filtered.
CREATE TABLE orders (id INT PRIMARY KEY, item VARCHAR, n INT) WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE items (name VARCHAR PRIMARY KEY, price INT) WITH (KAFKA_TOPIC='items', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE bill AS SELECT o.id AS id, name, n * price AS total FROM orders o LEFT JOIN items i ON o.item = i.name WHERE n > 1;
----
INSERT INTO orders VALUES (1, 'tea', 2);
INSERT INTO items VALUES ('tea', 10);
INSERT INTO orders VALUES (2, 'cup', 3);
INSERT INTO orders VALUES (3, 'tea', 1);
INSERT INTO items VALUES ('tea', 11);
SELECT id, name, total FROM bill ORDER BY id;
----
1|tea|22
2||
