"""Stars and log gf together: the hierarchical model, how it is solved, and checks on stars that it has not seen.

Order of reading: `solvers.model` (the statistical model, as NumPyro states it), `problem` (what is fitted: options,
priors, spectra, and what each of them contributes), `prior` (of the log gf), `newton` (how the maximum is found), `fit`
(the whole of it in order), `solvers` (SVI, batch by batch; NUTS and Laplace about the mean on the model itself),
`result`, `check`, `statistics` (what adds up over sets of stars), `rehearsal` (simulated surveys and small problems
with a known truth).
"""
