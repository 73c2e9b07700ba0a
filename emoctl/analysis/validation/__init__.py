"""Validation: arrays → tables with intervals. No torch, no terminal."""
