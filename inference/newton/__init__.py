"""The joint maximum by Gauss-Newton on the block arrow, and the errors about it.

Order of reading: search (where every star begins), sweep (one pass over all spectra), stars (each star on its own),
knowledge and choice (which lines are free), evidence (what the spectra say of the scatters of groups of lines; lapack,
proposal), groups (their prior), joint (stars and lines together), misfit (errors by wavelength), suspects (where the
list may lack a line), scatters (integrated over).
"""
