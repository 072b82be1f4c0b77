"""What crosses a boundary: records, facts, state, programme, tables, topics, metrics, settings."""
