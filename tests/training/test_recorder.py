"""The TensorBoard event files of a run."""

from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from tests.helpers.tensorboard import read_events
from tests.helpers.training import small_spec, train


def test_event_files_hold_scalars_text_and_hparams(tmp_path, caplog):
    specs = [small_spec(), small_spec(optim={"lr": 1e30})]
    with caplog.at_level("WARNING"):
        train(specs, tmp_path)
    # tensorboardX warns of each number that is not finite.
    assert caplog.text == ""
    statuses = []
    for k in range(2):
        values = [v for event in read_events(tmp_path / str(k)) for v in event.summary.value]
        tags = {v.tag for v in values}
        curves = {"train/loss", "optim/grad_norm", "optim/update_ratio"}
        # The second run diverges in its first interval: its numbers have no points.
        assert tags & curves == (curves if k == 0 else set())
        assert "optim/lr" in tags
        assert {"perf/compile_s", "perf/steps_per_s", "spec/text_summary"} <= tags
        assert "parameters/text_summary" in tags
        plugin = {
            v.tag: HParamsPluginData.FromString(v.metadata.plugin_data.content)
            for v in values
            if v.tag.startswith("_hparams_")
        }
        start = plugin["_hparams_/session_start_info"].session_start_info
        assert start.hparams["model.cell"].string_value == "lstm"
        assert start.hparams["model.hidden"].number_value == 5
        names = [m.name.tag for m in plugin["_hparams_/experiment"].experiment.metric_infos]
        assert names == ["valid/mse", "valid/mae", "test/mse", "test/mae"]
        statuses.append(plugin["_hparams_/session_end_info"].session_end_info.status)
    assert statuses == [1, 2]
    first = [v.tag for event in read_events(tmp_path / "0") for v in event.summary.value]
    assert first.count("valid/mse") == 4
    assert first.count("test/mse") == 1
