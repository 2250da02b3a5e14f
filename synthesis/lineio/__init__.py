"""Line lists of other codes, read and written: VALD, Kurucz, Turbospectrum, MOOG, Gaia-ESO, and our own ECSV."""

from synthesis.lineio.read import read_lines
from synthesis.lineio.recognise import FORMATS
from synthesis.lineio.rewrite import corrected, rewrite_lines
from synthesis.lineio.transitions import transitions
from synthesis.lineio.write import write_lines

__all__ = ["FORMATS", "corrected", "read_lines", "rewrite_lines", "transitions", "write_lines"]
