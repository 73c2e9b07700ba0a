"""Activations → emotion vectors, their files and their validation."""
