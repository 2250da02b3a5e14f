"""One file a format. Order of reading: readers (which one a file needs), fitsfile (a path to opened blocks), other
(what is no spectrum), lamost, lamost_mrs, sdss, apogee, apogee_lsf, apogee_visit, mwmstar; stated (spectra that do not
say what they are), content (what they hold), columns (names, units, errors), texttable.
"""
