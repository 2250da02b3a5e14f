"""The transfer equation: plane (the formal solution and its response), scattering, spherical."""
