"""What a finished run is used for: predictions, translations, texts and music."""
