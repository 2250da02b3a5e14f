"""Inputs that once failed, remade with numbers of their own: one test a kind of fault."""
