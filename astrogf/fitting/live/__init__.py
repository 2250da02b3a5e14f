"""The report's pictures to zoom and pan in, with what each point is: Bokeh, of which the report has the script in it.

Bokeh's script has 1.3 MB, Plotly's 4.8 MB in the package from the registry (its smaller bundle is not in it).

Order of reading: base (a figure as they all are, and how they get into a page), lines, stars, spectra, page.
"""
