"""JSB: its file format, both conventions, and damaged files."""

import numpy as np
import pytest
import scipy.io
from scipy.special import expit
from sklearn.metrics import log_loss

from configs.jsb import get_config
from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import JSB
from lstm_lab.tasks.datasets import music
from lstm_lab.tasks.examples import Sequences
from lstm_lab.utils.errors import UserError
from tests.helpers.data import dense, write_chorales


def test_a_frame_is_predicted_from_the_previous_frames(chorales):
    e = dense(JSB().load(chorales).splits["train"])
    raw = scipy.io.loadmat(chorales / "jsb" / "JSB_Chorales.mat")["traindata"].ravel()
    assert list(e.lengths) == [len(piece) for piece in raw] == [7, 5, 12]
    for k, piece in enumerate(raw):
        np.testing.assert_array_equal(e.y[k, : len(piece)], piece)
        np.testing.assert_array_equal(e.x[k, 1 : len(piece)], piece[:-1])
        assert not e.x[k, 0].any()
        assert not e.y[k, len(piece) :].any()


def test_the_first_frame_can_be_an_input_only(chorales):
    e = dense(JSB(first_frame=False).load(chorales).splits["train"])
    raw = scipy.io.loadmat(chorales / "jsb" / "JSB_Chorales.mat")["traindata"].ravel()
    assert list(e.lengths) == [6, 4, 11]
    np.testing.assert_array_equal(e.x[2, :11], raw[2][:-1])
    np.testing.assert_array_equal(e.y[2, :11], raw[2][1:])


@pytest.mark.parametrize("collection", music.FILES)
def test_every_collection_is_read_from_its_own_file(collection, tmp_path):
    task = JSB(collection)
    path = tmp_path / music.FILES[collection]
    path.parent.mkdir(exist_ok=True)
    write_chorales(tmp_path, pieces=(3, 9)).rename(path)
    assert list(task.load(tmp_path).splits["test"].lengths) == [3, 9]
    spec = build_spec(get_config(f"{collection},vanilla"))
    assert (spec.task, spec.model.cell) == (task, "vanilla")


def test_a_damaged_file_is_rejected(tmp_path):
    path = write_chorales(tmp_path)
    content = path.read_bytes()
    for damaged in (b"no .mat at all", content[:200], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is not a readable .mat file") as caught:
            JSB().load(tmp_path)
        assert "\n" not in str(caught.value)
    write_chorales(tmp_path, splits=("train", "test"))
    with pytest.raises(UserError, match="no variable 'validdata'"):
        JSB().load(tmp_path)
    write_chorales(tmp_path, pieces=())
    with pytest.raises(UserError, match="empty split 'traindata'"):
        JSB().load(tmp_path)
    bad = np.empty((1, 1), object)
    for piece, message in (
        (np.zeros((3, 87)), "shape"),
        (np.full((3, 88), 2), "other than 0 and 1"),
    ):
        bad[0, 0] = piece
        scipy.io.savemat(path, {f"{k}data": bad for k in ("train", "valid", "test")})
        with pytest.raises(UserError, match=message):
            JSB().load(tmp_path)


def test_the_mean_over_pieces_weighs_short_pieces_as_long_ones():
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 2, (length, 88)).astype(np.uint8) for length in (3, 9, 2)]
    test = Sequences.of(pieces)
    logits_NTC = rng.normal(size=(3, 8, 88))
    means = []
    for logits_TC, piece in zip(logits_NTC, pieces, strict=True):
        # The first frame is only read.
        steps = list(zip(logits_TC, piece[1:], strict=False))
        means.append(np.mean([log_loss(y, expit(z), labels=(0, 1)) * 88 for z, y in steps]))
    metrics = JSB().final_metrics(logits_NTC, test, {})
    np.testing.assert_allclose(metrics["piece_nll"], np.mean(means), rtol=1e-6)
    assert abs(metrics["piece_nll"] - np.average(means, weights=(2, 8, 1))) > 0.1
