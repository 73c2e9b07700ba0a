"""A run folder: its rows, its manifest, its owner. Knows no torch, no model and no statistic."""
