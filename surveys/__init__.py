"""Spectra of surveys: from files of any known format to batches on one wavelength grid.

Order of reading: spectrum (one spectrum, as a reader hands it over), batch (many), options, pixels, resample, `formats`
(readers), `directory` (files to batches), load (all that a fit is given), `store` (many spectra on disk), `catalogues`
(labels of other people), `download`, `simulate` (files with a known truth).
"""
