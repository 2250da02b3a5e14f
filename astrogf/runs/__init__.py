"""A run on disk: summary (its headline figures), tables (its rows), folder (written piece by piece, read back)."""
