"""Line lists of other codes, read and written: VALD, Kurucz, Turbospectrum, MOOG, Gaia-ESO, and our own ECSV."""

from astrogf.synthesis.lineio.read import read_lines
from astrogf.synthesis.lineio.recognise import FORMATS
from astrogf.synthesis.lineio.rewrite import corrected, rewrite_lines
from astrogf.synthesis.lineio.transitions import transitions
from astrogf.synthesis.lineio.write import write_lines

__all__ = ["FORMATS", "corrected", "read_lines", "rewrite_lines", "transitions", "write_lines"]
