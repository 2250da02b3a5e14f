"""A directory of files into batches: selection (which spectra are used), photons (each counted once), gather (one file
at a time), load, census."""
