"""The commands, a file for those that belong together: what they may be told; what they do stands elsewhere.

Order of reading: app (what they share), first, runs, lists, data, emulators.
"""
