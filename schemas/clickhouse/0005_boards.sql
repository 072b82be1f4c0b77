-- Why: activity and boards are computed and checked from the facts, so a fact says what its action weighs and where the
-- member is at home; and the places of boards that are final are kept. The rows of one board are all in one partition of
-- their topic; `ranked` says how many they are.
ALTER TABLE facts ADD COLUMN weight Int64;
ALTER TABLE facts ADD COLUMN home String;

CREATE TABLE IF NOT EXISTS boards (
    log String,
    board String,
    period String,
    at Int32,
    region String,
    group_id String,
    src_partition Int32,
    place Int32,
    member_id String,
    value Int64,
    ranked Int32,
    ended_at Int64,
    final_at Int64,
    topic_offset Int64
) ENGINE = ReplacingMergeTree
ORDER BY (log, board, period, at, region, group_id, src_partition, place, member_id);

CREATE VIEW IF NOT EXISTS boards_now AS
SELECT log, board, period, at, region, group_id, place, member_id, value, ranked, ended_at, final_at FROM boards FINAL;
