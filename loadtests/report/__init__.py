"""What a load came to: figures, objectives, charts, and the report."""
