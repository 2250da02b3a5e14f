"""`python -m astrogf` is the command `astrogf`."""

from astrogf.cli import main

main()
