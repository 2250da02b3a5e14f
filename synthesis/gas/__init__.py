"""The gas: abundances, species (names), partition (functions and equilibria), trace_molecules, eos (what is solved),
gas (what comes out), molecules (those that absorb in lines).
"""
