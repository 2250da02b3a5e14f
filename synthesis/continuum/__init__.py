"""Continuous opacity: opacity (the sum), hydrogen, tables (metals, negative ions, CH and OH)."""
