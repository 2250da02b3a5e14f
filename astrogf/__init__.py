"""astrogf: oscillator strengths and stellar labels from the spectra of a whole survey.

This room is the face: command line, run configuration, run folder, report. Nothing here imports JAX before a
computation starts, so that help and mistakes in a configuration answer at once.
"""

__version__ = "0.1.0"
