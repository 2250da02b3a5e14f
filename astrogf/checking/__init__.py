"""`astrogf check`: a run's corrections on spectra that it has not seen.

Order of reading: held_out (the command), figures.
"""
