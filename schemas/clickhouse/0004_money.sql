-- Why: points are spent, expire, are taken back and may be owed; the ledger says each change, so that its sums are the
-- balances.
ALTER TABLE facts ADD COLUMN spent Int64;
ALTER TABLE facts ADD COLUMN expired Int64;
ALTER TABLE facts ADD COLUMN reversed Int64;
ALTER TABLE facts ADD COLUMN debt Int64;
ALTER TABLE facts ADD COLUMN ends_at Int64;

DROP TABLE IF EXISTS ledger_now;

CREATE VIEW IF NOT EXISTS ledger_now AS
SELECT log, src_partition, src_offset, idx, n, member_id, effective_at, effective_time, decided_at, source, event_id,
       action, region, group_id, rule, entry, points, active, pending, spent, expired, reversed, debt, month, base, factor,
       because, reason, order_id, spend, currency, amends_offset, amends_idx, score, activity_index
FROM facts FINAL
WHERE kind = 'ledger';
