"""Public files from the network: addresses (where a spectrum lies), fetch (resumed, checked, recorded)."""
