"""Model cards: descriptions of trained models, in the layout of the Hugging Face Hub.

A card needs only the record of a run. It reads no weights, computes nothing with JAX, and runs no
code of users.
Read `card.py` next.
"""
