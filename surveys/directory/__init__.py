"""A directory of files into batches: selection (which spectra are used), photons (each counted once), load, census."""
