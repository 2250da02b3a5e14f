"""`astrogf label`: labels of very many stars at a run's corrected list."""
