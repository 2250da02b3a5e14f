"""A surrogate of a run's spectrum model: spectra of many stars quickly, the run's own model staying the judge.

Order of reading: `coarse` (spectra on few points), `domain` (which stars), `process` (Gaussian process of values and
derivatives), `model` (the surrogate as a spectrum model), `build` (made and tried), `search` (where stars begin),
`stars` (their fit), `label` (labels, and what the exact model says of them).
"""
