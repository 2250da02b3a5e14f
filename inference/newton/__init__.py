"""The joint maximum by Gauss-Newton on the block arrow.

Order of reading: search (where every star begins), sweep (one pass over all spectra; sums is
what it adds up, passed what it leaves), stars
(each star on its own), knowledge and choice (which lines are free), joint (stars and lines together; told, drift and
pace), learned_noise and misfit (errors by release and by wavelength), gaps (what missing lines do), suspects (where the
list may lack a line), over_scatters (the widths of the prior integrated over).
"""
