"""Solvers for many linear problems on the same features, each with a proof of how near it came to the optimum."""
