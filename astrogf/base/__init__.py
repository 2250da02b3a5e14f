"""The ground floor: what every room stands on, and what stands on nothing of ours.

Order of reading: errors (the one base of what goes wrong), precision (the double-precision switch), constants, air (air
and vacuum wavelengths), files (bytes, unpacked), tables (opened by what they are),
options (how a section of options is defined).
"""
