"""Line lists of other codes, read and written: VALD, Kurucz, Turbospectrum, MOOG, Gaia-ESO, and our own ECSV.

Order of reading: records (what every format becomes), one format in text (moog), columns, species and plain (tables),
checks, complete (records to a `LineList`), recognise, read; then listed, write, ecsv_rows and rewrite,
the way back. Messages
name options through words.
"""

from astrogf.synthesis.lineio.read import read_lines
from astrogf.synthesis.lineio.recognise import FORMATS
from astrogf.synthesis.lineio.rewrite import corrected, rewrite_lines
from astrogf.synthesis.lineio.transitions import transitions
from astrogf.synthesis.lineio.write import write_lines

__all__ = ["FORMATS", "corrected", "read_lines", "rewrite_lines", "transitions", "write_lines"]
