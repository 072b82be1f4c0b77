-- Why: the right way to read is written down once. Parts are merged at some later time or never, so a plain SELECT may
-- see a fact twice and every older total of a bucket; these views never do.
CREATE VIEW IF NOT EXISTS facts_now AS SELECT * FROM facts FINAL;

CREATE VIEW IF NOT EXISTS ledger_now AS
SELECT log, src_partition, src_offset, idx, n, member_id, effective_at, effective_time, decided_at, source, event_id,
       action, region, group_id, rule, entry, points, active, pending, month, base, factor, because, reason, order_id,
       spend, currency, amends_offset, amends_idx, score, activity_index
FROM facts FINAL
WHERE kind = 'ledger';

CREATE VIEW IF NOT EXISTS completeness AS
SELECT log, src_partition, min(n) AS first_n, max(n) AS last_n, uniqExact(n) AS held,
       max(n) - min(n) + 1 - uniqExact(n) AS missing, max(src_offset) AS last_offset
FROM facts
GROUP BY log, src_partition;

CREATE VIEW IF NOT EXISTS agg_hour_now AS
SELECT log, hour_at, toDateTime(intDiv(hour_at, 1000), 'UTC') AS hour, region, action,
       sum(actions_) AS actions, sum(points_) AS points, sum(spend_) AS spend
FROM (
    SELECT log, hour_at, region, action, src_partition, block,
           argMax(actions, version) AS actions_, argMax(points, version) AS points_, argMax(spend, version) AS spend_
    FROM agg_hour
    GROUP BY log, hour_at, region, action, src_partition, block
)
GROUP BY log, hour_at, region, action;

CREATE VIEW IF NOT EXISTS agg_day_now AS
SELECT log, day, toDate('1970-01-01') + day AS date, region, group_id, action,
       sum(actions_) AS actions, sum(points_) AS points, sum(spend_) AS spend
FROM (
    SELECT log, day, region, group_id, action, src_partition, block,
           argMax(actions, version) AS actions_, argMax(points, version) AS points_, argMax(spend, version) AS spend_
    FROM agg_day
    GROUP BY log, day, region, group_id, action, src_partition, block
)
GROUP BY log, day, region, group_id, action;

CREATE VIEW IF NOT EXISTS agg_members_now AS
SELECT log, period, at, region, group_id, sum(members_) AS members
FROM (
    SELECT log, period, at, region, group_id, src_partition, block, argMax(members, version) AS members_
    FROM agg_members
    GROUP BY log, period, at, region, group_id, src_partition, block
)
GROUP BY log, period, at, region, group_id;

CREATE VIEW IF NOT EXISTS agg_tiers_now AS
SELECT log, day, toDate('1970-01-01') + day AS date, region, dimension, tier, sum(members_) AS members
FROM (
    SELECT log, day, region, dimension, tier, src_partition, block, argMax(members, version) AS members_
    FROM agg_tiers
    GROUP BY log, day, region, dimension, tier, src_partition, block
)
GROUP BY log, day, region, dimension, tier;
