"""Emotion vectors in other programs' files: written for them, and read from them.

EmotionVectors ─▶ outgoing ─▶ Bundle ─▶ gguf_file │ lm_eval_file │ npz_file
EmotionVectors ◀─ incoming ◀─ Bundle ◀─ gguf_file │ lm_eval_file │ npz_file
"""
