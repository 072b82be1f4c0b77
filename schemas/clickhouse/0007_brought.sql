-- Why: the last purchase that an opening brings along counts in recency and frequency of the population.
ALTER TABLE facts ADD COLUMN bought_at Int64;
