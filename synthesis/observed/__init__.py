"""What an instrument makes of a spectrum: grid, broadening (rotation, macroturbulence), instrument (pixels of a
survey).
"""
