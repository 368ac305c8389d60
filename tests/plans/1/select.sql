-- Expressions of every kind in a projection and a predicate; another timestamp.
CREATE STREAM s (id INT KEY, name VARCHAR, amount DECIMAL(8, 2), day VARCHAR, tags ARRAY<VARCHAR>, place STRUCT<city VARCHAR, zip INT>, more MAP<VARCHAR, BIGINT>)
  WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1, TIMESTAMP='DAY', TIMESTAMP_FORMAT='yyyy-MM-dd');
CREATE STREAM c AS SELECT id, UCASE(name) AS name, amount * 2 + 0.5 AS twice, CAST(amount AS INT) AS whole,
    CASE WHEN amount > 10 THEN 'much' WHEN name LIKE 'a%' THEN 'a' ELSE 'little' END AS how,
    tags[1] AS tag, place->city AS city, more['x'] AS x, TRANSFORM(tags, t => LCASE(t)) AS lower, ROWTIME AS t
  FROM s WHERE id BETWEEN 1 AND 9 AND NOT (name IN ('no', 'never')) OR place->zip IS NULL;
----
INSERT INTO s VALUES (1, 'ab', 3.25, '2020-01-02', ARRAY['X', 'Y'], STRUCT(city := 'Lima', zip := 5), MAP('x' := 7));
INSERT INTO s VALUES (2, 'no', 30.00, '2020-01-02', ARRAY['X'], STRUCT(city := 'Rome', zip := 6), MAP('x' := 8));
INSERT INTO s VALUES (12, 'z', 30.00, '2020-01-03', ARRAY['Q'], STRUCT(city := 'Oslo', zip := CAST(NULL AS INT)), MAP('y' := 8));
SELECT id, name, twice, whole, how, tag, city, x, t FROM c ORDER BY id;
----
1|AB|7.00|3|a|X|Lima|7|1577923200000
12|Z|60.50|30|much|Q|Oslo||1578009600000
