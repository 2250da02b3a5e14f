"""First steps: a configuration to begin with, and whether this installation works.

Order of reading: kinds, configuration (`astrogf init`); checks, doctor (`astrogf doctor`).
"""
