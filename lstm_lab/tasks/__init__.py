"""Data sets and objectives, one file for each family."""

from lstm_lab.tasks.base import (
    Bernoulli,
    Categorical,
    Dataset,
    Examples,
    Given,
    Real,
    Split,
    Stream,
    Target,
    Task,
    Tokens,
    Vectors,
    is_stream,
)
from lstm_lab.tasks.batches import (
    Batch,
    chunk,
    epoch_order,
    first_examples,
    longest,
    mean_steps,
    steps_per_epoch,
    take,
    train_batch,
)
from lstm_lab.tasks.datasets.digits import Digits
from lstm_lab.tasks.datasets.forecasting import Series
from lstm_lab.tasks.datasets.formal import Counting, Dyck, Parity
from lstm_lab.tasks.datasets.language import Language
from lstm_lab.tasks.datasets.mnist import MNIST
from lstm_lab.tasks.datasets.music import JSB
from lstm_lab.tasks.datasets.speech import SpokenDigits
from lstm_lab.tasks.datasets.synthetic import Adding, CopyMemory, TemporalOrder
from lstm_lab.tasks.datasets.tabular import Table
from lstm_lab.tasks.datasets.tagging import Tags
from lstm_lab.tasks.datasets.text_classification import Text
from lstm_lab.tasks.datasets.time_series import Waves
from lstm_lab.tasks.datasets.translation import Translation
from lstm_lab.tasks.metrics import (
    DIRECTIONS,
    Scores,
    in_order,
    means,
    metrics_of,
    no_scores,
    objective,
    scores,
)
from lstm_lab.tasks.trivial import naive_scores

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Adding,
        CopyMemory,
        TemporalOrder,
        Parity,
        Dyck,
        Counting,
        Digits,
        MNIST,
        JSB,
        SpokenDigits,
        Language,
        Text,
        Tags,
        Translation,
        Series,
        Waves,
        Table,
    )
}

__all__ = [
    "DIRECTIONS",
    "JSB",
    "MNIST",
    "TASKS",
    "Adding",
    "Batch",
    "Bernoulli",
    "Categorical",
    "CopyMemory",
    "Counting",
    "Dataset",
    "Digits",
    "Dyck",
    "Examples",
    "Given",
    "Language",
    "Parity",
    "Real",
    "Scores",
    "Series",
    "Split",
    "SpokenDigits",
    "Stream",
    "Table",
    "Tags",
    "Target",
    "Task",
    "TemporalOrder",
    "Text",
    "Tokens",
    "Translation",
    "Vectors",
    "Waves",
    "chunk",
    "epoch_order",
    "first_examples",
    "in_order",
    "is_stream",
    "longest",
    "mean_steps",
    "means",
    "metrics_of",
    "naive_scores",
    "no_scores",
    "objective",
    "scores",
    "steps_per_epoch",
    "take",
    "train_batch",
]
