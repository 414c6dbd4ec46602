"""Probes: what is fitted on frozen features, and how it chooses without looking at the test split."""
