"""Frozen features: taken from an encoder in one pass, kept by what they were made of, and shared."""
