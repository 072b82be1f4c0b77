-- Why: recorded actions can be replayed also when Kafka has them no more. A row is a record of the log as it was read.
-- `previous` is the offset of the record read before it (-1 = the log begins here, -2 = nobody knows): the offsets of a
-- log have holes of their own, so a lost row is told by the chain alone. The row that knows more wins. `extra` is JSON of
-- what the other columns cannot hold, mostly empty. An engine without codecs (before 19.1) compresses as it always does.
CREATE TABLE IF NOT EXISTS actions (
    log String,
    src_partition Int32,
    topic_offset Int64 CODEC(Delta, ZSTD),
    previous Int64 CODEC(Delta, ZSTD),
    stamped_at Int64 CODEC(Delta, ZSTD),
    key String,
    extra String,
    body String CODEC(ZSTD(3)),
    stamped_time DateTime('UTC') DEFAULT toDateTime(intDiv(stamped_at, 1000), 'UTC')
) ENGINE = ReplacingMergeTree(previous)
PARTITION BY toYYYYMM(stamped_time)
ORDER BY (log, src_partition, topic_offset);

-- Over a chain without a gap each offset but the last is the previous of one row, so both sums are the same; each lost
-- row makes the second one greater.
CREATE VIEW IF NOT EXISTS actions_held AS
SELECT log, src_partition, min(topic_offset) AS first_offset, argMin(previous, topic_offset) AS before_first,
       max(topic_offset) AS last_offset, count() AS held,
       countIf(previous = -2) - if(before_first = -2, 1, 0) AS unknown,
       unknown = 0 AND sum(topic_offset) - last_offset = sum(previous) - before_first AS whole
FROM actions FINAL
GROUP BY log, src_partition;
