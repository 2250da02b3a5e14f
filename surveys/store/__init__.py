"""Many spectra on disk in chunks.

Order of reading: store, journal, writer, fill (from a directory), stream, criteria, load, kept (a directory by way of a
store).
"""
