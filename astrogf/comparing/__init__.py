"""`astrogf compare`: a run's corrections against reference log gf, a laboratory's or another list's.

Order of reading: reference_table (how such tables come), judge (which line is which, and the statistics), corrections
(the command), figures.
"""
