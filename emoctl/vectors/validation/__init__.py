"""What emotion vectors are tried on, and what came of it, as plain arrays; no statistics."""
