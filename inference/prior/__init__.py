"""The prior of the log gf, whose widths are learned, and the posterior of the lines that it leaves.

Everything here starts from (A, b), what spectra say of the corrections, and knows of no spectrum. Order of reading:
widths (of the prior of every group of lines), blends (missing lines under listed ones), means (of the species),
conditional (the posterior given the widths; lapack), groups (of lines, and their widths at the most probable), classes
and scatters (widths and classes integrated over; apart and leaps are the sampler's moves), intervals.
"""
