"""Uses of a finished run: predictions, translations, generated text and music.

Start with `load.load_run`; `predict`, `translate`, `generate` and `music` take its result.
"""
