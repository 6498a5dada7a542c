"""Ten small data sets of the UCR archive (2018): a bidirectional LSTM next to published networks.

It has not run: the files of the archive were not at hand. The settings are those of the config
heartbeats, with one bidirectional layer, and were chosen for none of these sets. There is no claim.

Command: lstm-lab reproduce ucr
Data: the archive, unpacked as UCRArchive_2018/ under --data_dir or $LSTM_LAB_DATA, with files such
as UCRArchive_2018/ECG200/ECG200_TRAIN.tsv.

A quarter of the training series chooses the checkpoint. The published networks saw all of them, and
their checkpoint was that of the lowest training loss.

Source: Fawaz et al. 2019, Deep learning for time series classification: a review; means of 10 runs
on the same sets in the archive of 2015, partly under older names, from the authors' repository
(hfawaz/dl-4-tsc, README).
"""

from typing import NamedTuple

from lstm_lab.configs import heartbeats

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Reference, Study, zipped
from lstm_lab.studies.axes import label

SOURCE = "Fawaz et al. 2019, authors' repository"


class DataSet(NamedTuple):
    """A data set of the archive.

    Attributes:
      name: its folder.
      labels: its labels, as in the files.
      mlp, fcn, resnet: published accuracies, in percent.
    """

    name: str
    labels: str
    mlp: float
    fcn: float
    resnet: float


DATA_SETS = (
    DataSet("CBF", "1 2 3", 87.2, 99.4, 99.5),
    DataSet("Coffee", "0 1", 99.6, 100.0, 100.0),
    DataSet("ECG200", "-1 1", 91.6, 88.9, 87.4),
    DataSet("GunPoint", "1 2", 92.7, 100.0, 99.1),
    DataSet("ItalyPowerDemand", "1 2", 95.4, 96.1, 96.3),
    DataSet("Plane", "1 2 3 4 5 6 7", 97.8, 100.0, 100.0),
    DataSet("SonyAIBORobotSurface1", "1 2", 67.2, 96.0, 95.8),
    DataSet("SyntheticControl", "1 2 3 4 5 6", 97.6, 98.5, 99.8),
    DataSet("Trace", "1 2 3 4", 80.7, 100.0, 100.0),
    DataSet("TwoLeadECG", "1 2", 76.2, 100.0, 100.0),
)
OPTIONS = {
    "task.file": tuple(f"UCRArchive_2018/{s.name}/{s.name}_TRAIN.tsv" for s in DATA_SETS),
    "task.test": tuple(f"UCRArchive_2018/{s.name}/{s.name}_TEST.tsv" for s in DATA_SETS),
    "task.labels": tuple(tuple(s.labels.split()) for s in DATA_SETS),
}


def get_study() -> Study:
    """Returns the study."""
    sets = zipped(OPTIONS)
    changes = {
        # The rest of the task is that of ECG5000, whose files need not be there.
        **{"task.folds": None, "task.fold": None, "task.valid_share": 0.25},
        **{"model.layers": 1, "model.bidirectional": True},
        # Sets of 20 and of 300 series get the same number of steps.
        **{"train.epochs": None, "train.steps": 2000, "train.eval_every": 25},
        "train.patience": 20,
    }
    return Study(
        name="ucr",
        title="Ten small data sets of the UCR archive",
        base=with_values(heartbeats.get_config(), changes),
        axes=(sets,),
        seeds=(0, 1, 2, 3, 4),
        references=tuple(
            Reference(
                f"{s.name}, {network.upper()}", getattr(s, network) / 100, SOURCE, label(point)
            )
            for s, point in zip(DATA_SETS, sets.points, strict=True)
            for network in ("mlp", "fcn", "resnet")
        ),
    )
