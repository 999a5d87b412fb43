"""Results of a load test: figures, objectives, charts, and the report."""
