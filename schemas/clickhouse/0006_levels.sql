-- Why: members are counted by level, and moves between levels are shown, by SQL.
ALTER TABLE facts ADD COLUMN level String;
ALTER TABLE facts ADD COLUMN level_before String;
