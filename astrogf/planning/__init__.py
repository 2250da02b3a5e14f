"""`astrogf plan`: what a run will need, before it begins.

Order of reading: costs (formulas and measured constants), plan (the command, and the lines that head every run).
"""
