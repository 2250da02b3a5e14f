"""A run on disk: summary (its headline figures), columns and tables (its rows), folder (written piece by piece), run
(read back as an object), spectra, draws and posterior (for other programs)."""
