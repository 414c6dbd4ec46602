"""Weights that others made: reading their files safely, saying what they are, loading all of them or nothing."""
