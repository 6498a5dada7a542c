"""English to German, Multi30k: with attention and without.

Command: lstm-lab reproduce translation
Time: 111 minutes on two cores that also did other work.
Score: test BLEU 37.2 with attention, 19.1 without (3 seeds each).
Data: as the config translation.

Luong, Pham and Manning 2015, Effective approaches to attention-based neural machine translation,
report that attention gains 5 BLEU on WMT English to German; here, whether it gains some on short
captions of images.
"""

from lstm_lab.configs import translation

from lstm_lab.studies import Claim, Study, grid


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="translation",
        title="English to German (Multi30k)",
        base=translation.get_config(),
        axes=(grid("model.attention", ("luong", "none")),),
        seeds=(0, 1, 2),
        baseline="none",
        test_metric="bleu",
        claims=(Claim(better="luong", worse="none"),),
    )
