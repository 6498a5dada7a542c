"""Model cards: what a trained model is, in the layout of the Hugging Face Hub.

A card is made from the record of a run alone: no JAX computation, no weights, no code of users.
Read `card.py` next.
"""
