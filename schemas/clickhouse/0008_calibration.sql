-- Why: P(alive) itself cannot be seen; what it foretells can. A row is a tenth of the customers of a day: how many bought
-- within the horizon (days), and the sum of their chances to, in millionths.
CREATE TABLE IF NOT EXISTS calibration (
    log String,
    day Int32,
    horizon Int32,
    decile Int32,
    src_partition Int32,
    version Int64,
    customers Int64,
    bought Int64,
    predicted Int64,
    topic_offset Int64,
    date Date DEFAULT toDate('1970-01-01') + day
) ENGINE = ReplacingMergeTree(version)
ORDER BY (log, day, horizon, decile, src_partition);

CREATE VIEW IF NOT EXISTS calibration_now AS
SELECT log, day, date, horizon, decile, customers, predicted / 1000000 / customers AS predicted_share,
       bought / customers AS bought_share, abs(predicted / 1000000 - bought) / customers AS gap
FROM calibration FINAL;
