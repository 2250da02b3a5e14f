"""`astrogf fit`, `demo` and `report`: from spectra to a run folder with its report.

Order of reading: engine (the rooms below, called), pipeline (the order of things and the record), truth (what a
simulation knows), figures, report.
"""
