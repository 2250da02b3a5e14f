"""The joint maximum by Gauss-Newton on the block arrow, and the errors about it.

Order of reading: search (where every star begins), sweep (one pass over all spectra), stars (each star on its own),
knowledge and choice (which lines are free), widths (the prior of the lines), conditional (the posterior given their
widths; lapack), groups (of lines, and what a fit makes of their prior on the way), joint (stars and lines together),
misfit (errors by wavelength), suspects (where the list may lack a line), classes and scatters (widths and classes
integrated over).
"""
