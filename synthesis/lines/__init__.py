"""Line opacity.

Order of reading: linelist (the columns), shipped (the lists that come with the package), isotopes, damping, borrow,
voigt, pieces (cores in rows, wings in tiles), profile, opacity, slopes (derivatives), strength (which lines matter and
how far they reach).
"""
