"""The references compared with themselves have a BLEU of 100, in every language."""

import sys

import numpy as np
import pytest

from lstm_lab.tasks import Translation
from lstm_lab.tasks.bleu import bleu, bleu_signature, bleu_tokenizer
from lstm_lab.utils.errors import UserError

SENTENCES = {
    "german": ('Kleine Hunde-Paare (schlafen) "gern" 3.5 km.', "Größe: 5–7 % … »so«!", "13a"),
    "english": ("It's a well-known fact: 1,000 (or so) dogs don't.", "A dog , a cat .", "13a"),
    "french": ("« Où est-il ? » demanda-t-elle ; rien !", "L’été e\u0301tait a\u0300 l’eau", "13a"),
    "chinese": ("小狗睡觉。", "在2020年,他说:“好!” OK", "zh"),
    "japanese": ("犬が公園で走っている。", "カメラを「見る」人。", "char"),
    "hindi": ("एक कुत्ता पार्क में दौड़ रहा है।", "क्या आप हिन्दी बोलते हैं?", "13a"),
    "hebrew": ("שָׁלוֹם עֲלֵיכֶם, חברים!", "הכלב רץ בפארק.", "13a"),
    "arabic": ("الكَلْبُ يَجْرِي، أليس كذلك؟", "می\u200cخواهم بروم.", "13a"),
    "korean": ("개가 공원에서 뛴다.", "무엇을 \"보고\" 있나요?", "13a"),
    "thai": ("สุนัขวิ่งในสวนสาธารณะ", "คุณพูดภาษาไทยได้ไหม", "char"),
}  # fmt: skip


def task_of(paths, data_dir, **options):
    """Returns the task of two files, with the options that they determine."""
    files = dict(zip(("train_source", "train_target"), paths, strict=True))
    return Translation(**Translation.complete({**files, **options}, data_dir))


@pytest.mark.parametrize("unit", ["word", "subword"])
@pytest.mark.parametrize("language", SENTENCES)
def test_references_compared_with_themselves_have_100(tmp_path, monkeypatch, language, unit):
    monkeypatch.setattr("lstm_lab.tasks.bleu.find_spec", lambda name: None)  # without MeCab
    *sentences, tokenizer = SENTENCES[language]
    (tmp_path / "a.en").write_text("a dog\n" * 40)
    (tmp_path / "a.xx").write_text("\n".join(sentences * 20) + "\n", encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("a.en", "a.xx")]
    task = task_of(paths, tmp_path, unit=unit, max_length=200)
    dataset = task.load(tmp_path)
    test = dataset.splits["test"]
    assert f"tok:{tokenizer}|" in dataset.preprocessing["bleu"]
    assert task.final_metrics(test.y, test, dataset.preprocessing) == {"bleu": 100.0}
    wrong = np.roll(test.y, 1, axis=1)
    assert task.final_metrics(wrong, test, dataset.preprocessing)["bleu"] < 100.0


def test_the_tokenizers_of_japanese_and_korean_are_used_where_installed(monkeypatch):
    monkeypatch.setattr("lstm_lab.tasks.bleu.find_spec", lambda name: object())
    assert bleu_tokenizer(["犬が走っている。"]) == "ja-mecab"
    assert bleu_tokenizer(["개가 뛴다."]) == "ko-mecab"
    assert bleu_tokenizer(["小狗睡觉。"]) == "zh"
    assert bleu_tokenizer(["123 ..."]) == "13a"


def test_short_references_can_reach_100():
    assert bleu(["ein hund"], ["Ein Hund"]) == 100.0
    assert "eff:yes" in bleu_signature(["Ein Hund"])
    assert "eff:no" in bleu_signature(["Ein Hund", "ein kleiner alter hund"])


def test_a_text_with_more_words_than_the_vocabulary_has_subwords(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.en", "a.de")]
    text = "".join(f"wort{k} und wort{k + 1}\n" for k in range(400))
    for path in paths:
        (tmp_path / path).write_text(text)
    few = task_of(paths, tmp_path)
    assert (few.unit, few.source_vocabulary, few.vocabulary) == ("word", 403, 405)
    sizes = {"source_vocabulary": 350, "vocabulary": 350}
    assert task_of(paths, tmp_path, **sizes, unit="word").unit == "word"
    task = task_of(paths, tmp_path, **sizes)
    assert (task.unit, task.vocabulary) == ("subword", 350)
    dataset = task.load(tmp_path)
    # Also a word that the training split does not have.
    x = task.read_line("neuwort\n", dataset.preprocessing)
    assert 0 not in x
    assert 0 not in dataset.splits["test"].y[:, 0]


@pytest.mark.parametrize("package", ["sentencepiece", "sacrebleu.metrics"])
def test_a_missing_package_is_named_before_the_training(tmp_path, monkeypatch, package):
    paths = [str(tmp_path / name) for name in ("a.en", "a.de")]
    for path in paths:
        (tmp_path / path).write_text("ein hund\n" * 40)
    task = task_of(paths, tmp_path, unit="subword")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="pip install 'lstm-lab.nlp.'"):
        task.load(tmp_path)
