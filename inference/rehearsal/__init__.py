"""Truths that are known: options, survey (files of a simulated survey), small (problems for solvers and coverage)."""
