"""The same model without Gauss-Newton's approximations.

Order of reading: model, gaussian, nuts, svi, laplace, refine.
"""
