"""Truths that are known: options and survey (files of a simulated survey), small (problems for solvers and coverage)."""
