"""The pinned data and checkpoints, fetched once and kept in a cache folder."""
