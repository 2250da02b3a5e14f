"""What is fitted, from options to the normal equations of one spectrum.

Order of reading: options, parameters, priors (what is known of single stars), noise, problem (one spectrum under the
model), spectra (all of them, by window and star), unlisted (lines that a list may lack), setup and collect (lines,
emulator and spectra of a run prepared), contribution (the contract of what a spectrum adds), responses (the model of
many spectra), tiles, lines, linearise, miscomputed, arrow (stars eliminated), devices.
"""
