-- Why: totals by hour, day, members and tiers. A row is the total of one bucket inside one block of offsets of one
-- partition; the highest version of it counts, and readers add up partitions and blocks. Not partitioned: all rows of
-- an insert are one block, in or not in as a whole.
CREATE TABLE IF NOT EXISTS agg_hour (
    log String,
    hour_at Int64,
    region String,
    action String,
    src_partition Int32,
    block Int64,
    version Int64,
    actions Int64,
    points Int64,
    spend Int64,
    topic_offset Int64,
    hour DateTime('UTC') DEFAULT toDateTime(intDiv(hour_at, 1000), 'UTC')
) ENGINE = ReplacingMergeTree(version)
ORDER BY (log, hour_at, region, action, src_partition, block);

CREATE TABLE IF NOT EXISTS agg_day (
    log String,
    day Int32,
    region String,
    group_id String,
    action String,
    src_partition Int32,
    block Int64,
    version Int64,
    actions Int64,
    points Int64,
    spend Int64,
    topic_offset Int64,
    date Date DEFAULT toDate('1970-01-01') + day
) ENGINE = ReplacingMergeTree(version)
ORDER BY (log, day, region, group_id, action, src_partition, block);

CREATE TABLE IF NOT EXISTS agg_members (
    log String,
    period String,
    at Int32,
    region String,
    group_id String,
    src_partition Int32,
    block Int64,
    version Int64,
    members Int64,
    topic_offset Int64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (log, period, at, region, group_id, src_partition, block);

CREATE TABLE IF NOT EXISTS agg_tiers (
    log String,
    day Int32,
    region String,
    dimension String,
    tier String,
    src_partition Int32,
    block Int64,
    version Int64,
    members Int64,
    topic_offset Int64,
    date Date DEFAULT toDate('1970-01-01') + day
) ENGINE = ReplacingMergeTree(version)
ORDER BY (log, day, region, dimension, tier, src_partition, block);
