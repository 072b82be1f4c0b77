"""Everything that touches the world: Kafka, Redis, ClickHouse, HTTP, the clock. Composed in `cli` alone."""
