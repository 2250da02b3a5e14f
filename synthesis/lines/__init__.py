"""Line opacity.

Order of reading: linelist (the columns), shipped (the lists that come with the package), isotopes, damping, borrow,
voigt, buckets (windows of fixed widths), opacity, strength (which lines matter and how far they reach).
"""
