"""Lines of hydrogen: atom (levels and strengths), profile (Stark, Doppler, damping), opacity (on a window's grid)."""
