"""Prompts + conditions → tokens and scores. Knows no emotion and no scenario."""
