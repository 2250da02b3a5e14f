"""The spectrum model: an atmosphere, abundances and lines in, a spectrum with all its derivatives out.

Order of reading: synthesize (for users), spectrum and window (a spectrum prepared), model (for a fit), linelists (the
lines of a run); then `gas` (equation of state), `continuum`, `hydrogen`, `lines` (line opacity), `transfer`, `observed`
(broadening, the survey's pixels), and `lineio` (lists of other codes). package_data: the shipped tables.
"""
