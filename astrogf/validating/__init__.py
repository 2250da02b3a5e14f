"""`astrogf validate-emulator`: an emulator of atmospheres against real models.

Order of reading: validation, figures.
"""
