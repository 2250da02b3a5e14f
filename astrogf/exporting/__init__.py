"""Results go out: the corrected list of a run in the formats of other codes, and corrections put into any list.

Order of reading: run_list (the list that a run had, and what moves its lines), overlay (corrections as a file of their
own), results (tables and posterior of a run), formats, export; matching (which rows of another list they belong to),
apply.
"""
