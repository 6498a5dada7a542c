"""English to German, Multi30k: with attention and without.

Command: lstm-lab reproduce translation
Data: as the config translation.
"""

from lstm_lab.configs import translation

from lstm_lab.studies import Study, grid


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="translation",
        title="English to German (Multi30k)",
        base=translation.get_config(),
        axes=(grid("model.attention", ("luong", "none")),),
        seeds=(0,),
    )
