"""Tasks: data, batches, losses and metrics.

`TASKS` maps the name in a config to its class. Read base.py first, then batches.py and metrics.py;
datasets/ has one file per family of tasks, and readers/ has what they share.
"""

from lstm_lab.tasks.base import (
    Bernoulli,
    Categorical,
    Dataset,
    Inputs,
    Real,
    Target,
    Task,
    Tokens,
    Vectors,
)
from lstm_lab.tasks.batches import (
    Batch,
    batch_places,
    chunk,
    epoch_order,
    first_examples,
    gather_batch,
    longest,
    mean_steps,
    rows_that_fit,
    steps_per_epoch,
    train_batch,
)
from lstm_lab.tasks.datasets.chomsky import Chomsky
from lstm_lab.tasks.datasets.counters import CounterLanguage
from lstm_lab.tasks.datasets.digits import Digits
from lstm_lab.tasks.datasets.forecasting import Series
from lstm_lab.tasks.datasets.formal import Counting, Dyck, Parity
from lstm_lab.tasks.datasets.groups import WordProblem
from lstm_lab.tasks.datasets.language import Language
from lstm_lab.tasks.datasets.mnist import MNIST
from lstm_lab.tasks.datasets.music import JSB
from lstm_lab.tasks.datasets.recall import MultiQueryRecall, SelectiveCopy
from lstm_lab.tasks.datasets.speech import SpokenDigits
from lstm_lab.tasks.datasets.synthetic import Adding, CopyMemory, TemporalOrder
from lstm_lab.tasks.datasets.tabular import Table
from lstm_lab.tasks.datasets.tagging import Tags
from lstm_lab.tasks.datasets.text_classification import Text
from lstm_lab.tasks.datasets.time_series import Waves
from lstm_lab.tasks.datasets.translation import Translation
from lstm_lab.tasks.examples import (
    IGNORE_INDEX,
    Examples,
    Sequences,
    SourceTokens,
    Split,
    Stored,
    Stream,
    Windows,
)
from lstm_lab.tasks.metrics import (
    DIRECTIONS,
    ClassScores,
    MetricSums,
    class_scores,
    loss_sum,
    loss_weights,
    means,
    metric_directions,
    metric_names,
    metric_sums,
    ordered_metrics,
    zero_metrics,
)
from lstm_lab.tasks.trivial import trivial_baselines

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Adding,
        CopyMemory,
        TemporalOrder,
        Parity,
        Dyck,
        Chomsky,
        CounterLanguage,
        WordProblem,
        MultiQueryRecall,
        SelectiveCopy,
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
    "IGNORE_INDEX",
    "JSB",
    "MNIST",
    "TASKS",
    "Adding",
    "Batch",
    "Bernoulli",
    "Categorical",
    "Chomsky",
    "ClassScores",
    "CopyMemory",
    "CounterLanguage",
    "Counting",
    "Dataset",
    "Digits",
    "Dyck",
    "Examples",
    "Inputs",
    "Language",
    "MetricSums",
    "MultiQueryRecall",
    "Parity",
    "Real",
    "SelectiveCopy",
    "Sequences",
    "Series",
    "SourceTokens",
    "Split",
    "SpokenDigits",
    "Stored",
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
    "Windows",
    "WordProblem",
    "batch_places",
    "chunk",
    "class_scores",
    "epoch_order",
    "first_examples",
    "gather_batch",
    "longest",
    "loss_sum",
    "loss_weights",
    "mean_steps",
    "means",
    "metric_directions",
    "metric_names",
    "metric_sums",
    "ordered_metrics",
    "rows_that_fit",
    "steps_per_epoch",
    "train_batch",
    "trivial_baselines",
    "zero_metrics",
]
