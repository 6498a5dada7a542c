"""Downloads from a local server: hashes, mirrors, errors, several processes, a killed download."""

import gzip
import hashlib
import http.server
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial

import pytest

from lstm_lab.cli import main
from lstm_lab.config.find import list_files
from lstm_lab.tasks.datasets import tagging
from lstm_lab.tasks.readers import download
from lstm_lab.tasks.readers.download import describe, get, locate
from lstm_lab.tasks.readers.sources import DATA_SETS, Source
from lstm_lab.utils.errors import UserError

CONTENT = b"to be or not to be\n" * 100


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; a file whose name starts with `slow` never ends."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if "slow" not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        self.wfile.write(b"half a file")
        self.wfile.flush()
        time.sleep(60)
        return None


@pytest.fixture
def server(tmp_path):
    """Starts a local web server; yields the folder that it serves, and its address."""
    folder = tmp_path / "served"
    (folder / "tinyshakespeare").mkdir(parents=True)
    (folder / "tinyshakespeare" / "input.txt").write_bytes(CONTENT)
    handler = partial(Server, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        httpd.daemon_threads = True
        httpd.block_on_close = False
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("LSTM_LAB_MIRROR", raising=False)


def one_file(monkeypatch, address, content=CONTENT, **changes):
    """Replaces tinyshakespeare by a file at the address, with the hash of the content."""
    source = Source("tinyshakespeare/input.txt", address, hashlib.sha256(content).hexdigest())
    entry = replace(DATA_SETS["tinyshakespeare"], files=(replace(source, **changes),))
    monkeypatch.setitem(DATA_SETS, "tinyshakespeare", entry)


def test_a_missing_file_is_downloaded_once(server, tmp_path, monkeypatch):
    _, url = server
    one_file(monkeypatch, f"{url}/tinyshakespeare/input.txt")
    (path,) = get("tinyshakespeare", tmp_path / "data")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["input.txt"]
    # An existing file stays as it is, whatever the server has now.
    path.write_bytes(b"mine")
    assert locate("tinyshakespeare/input.txt", tmp_path / "data") == path
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("place", "changes", "message"),
    [
        ("tinyshakespeare/input.txt", {"sha256": "0" * 64}, r"got sha256 \w{64}, expected 0{64}"),
        ("nothing", {}, "the server answered 404"),
        ("refused", {"url": "http://127.0.0.1:9/input.txt"}, "no connection: is there a network"),
    ],
)
def test_a_failed_download_says_where_to_get_the_file(
    server, tmp_path, monkeypatch, place, changes, message
):
    _, url = server
    one_file(monkeypatch, f"{url}/{place}", **changes)
    with pytest.raises(UserError, match=message) as failure:
        get("tinyshakespeare", tmp_path / "data")
    text = str(failure.value)
    assert len(text.splitlines()) == 1
    assert f"{tmp_path / 'data' / 'tinyshakespeare' / 'input.txt'} is missing" in text
    assert "get http://127.0.0.1:" in text
    assert "LSTM_LAB_MIRROR" in text
    assert "lstm-lab data prepare tinyshakespeare PATH" in text
    assert list((tmp_path / "data" / "tinyshakespeare").iterdir()) == []


def test_a_mirror_is_an_address_or_a_folder(server, tmp_path, monkeypatch):
    folder, url = server
    one_file(monkeypatch, "http://127.0.0.1:9/gone")
    for number, mirror in enumerate((url, f"{url}/", str(folder))):
        monkeypatch.setenv("LSTM_LAB_MIRROR", mirror)
        (path,) = get("tinyshakespeare", tmp_path / str(number))
        assert path.read_bytes() == CONTENT
    monkeypatch.setenv("LSTM_LAB_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="No such file or directory: .*nowhere/tinyshakespeare"):
        get("tinyshakespeare", tmp_path / "none")
    monkeypatch.setenv("LSTM_LAB_MIRROR", str(folder))
    # The hash is checked all the same.
    (folder / "tinyshakespeare" / "input.txt").write_bytes(b"another text")
    with pytest.raises(UserError, match="got sha256"):
        get("tinyshakespeare", tmp_path / "changed")
    monkeypatch.setenv("LSTM_LAB_MIRROR", str(tmp_path / "none"))
    with pytest.raises(UserError, match="No such file .*/none/tinyshakespeare/input.txt"):
        get("tinyshakespeare", tmp_path / "none")


def test_a_part_of_a_folder_is_completed(server, tmp_path, monkeypatch):
    folder, url = server
    monkeypatch.setenv("LSTM_LAB_MIRROR", url)
    for source in DATA_SETS["atis"].files:
        (folder / source.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / source.path).write_text(source.path)
    unpinned = tuple(replace(source, sha256=None) for source in DATA_SETS["atis"].files)
    monkeypatch.setitem(DATA_SETS, "atis", replace(DATA_SETS["atis"], files=unpinned))
    # A download that stopped has left two of the files.
    for name in ("seq.in", "seq.out"):
        (tmp_path / "data" / "atis" / "test").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "atis" / "test" / name).write_text("mine")
    found = tagging.find("atis/test", tmp_path / "data")
    assert sorted(path.name for path in found.iterdir()) == ["label", "seq.in", "seq.out"]
    assert (found / "seq.in").read_text() == "mine"


def test_a_hash_can_be_of_the_unpacked_content(server, tmp_path, monkeypatch):
    folder, url = server
    file = folder / "tinyshakespeare" / "input.txt"
    one_file(monkeypatch, f"{url}/tinyshakespeare/input.txt", unpacked=True)
    for number, level in enumerate((1, 9)):
        file.write_bytes(gzip.compress(CONTENT, level))
        (path,) = get("tinyshakespeare", tmp_path / str(number))
        assert gzip.decompress(path.read_bytes()) == CONTENT


LOAD = """
import sys
from dataclasses import replace
from pathlib import Path
from lstm_lab.tasks.readers.download import get
from lstm_lab.tasks.readers.sources import DATA_SETS, Source
files = (Source("tinyshakespeare/input.txt", sys.argv[1], sys.argv[2]),)
DATA_SETS["tinyshakespeare"] = replace(DATA_SETS["tinyshakespeare"], files=files)
print(get("tinyshakespeare", Path(sys.argv[3]))[0].stat().st_size)
"""


def start(url, folder):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    command = [sys.executable, "-c", LOAD, url, sha256, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_may_download_the_same_file(server, tmp_path):
    _, url = server
    processes = [start(f"{url}/tinyshakespeare/input.txt", tmp_path / "data") for _ in range(2)]
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert out.strip() == str(len(CONTENT)), error


def test_a_killed_download_leaves_no_file_under_its_name(server, tmp_path):
    _, url = server
    process = start(f"{url}/slow.txt", tmp_path / "data")
    folder = tmp_path / "data" / "tinyshakespeare"
    while not list(folder.glob("*/input.txt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not (folder / "input.txt").exists()


def test_every_data_set_is_described_and_belongs_to_a_config(tmp_path):
    header, *rows = describe(tmp_path)
    assert [row[0] for row in rows] == list(DATA_SETS)
    assert all(len(row) == len(header) for row in rows)
    configs = list_files("configs")
    for name, data_set in DATA_SETS.items():
        assert data_set.config.partition(":")[0] in configs
        for source in data_set.files:
            assert source.path.startswith(f"{name}/")
            assert source.sha256 is None or len(source.sha256) == 64


def test_the_hashes_of_the_music_collections_are_those_of_their_commit():
    hashes = {name: DATA_SETS[name].files[0].sha256[:8] for name in ("jsb", "nottingham")}
    hashes |= {name: DATA_SETS[name].files[0].sha256[:8] for name in ("musedata", "piano_midi")}
    assert hashes == {
        "jsb": "ac0e6085",
        "nottingham": "d154f7ca",
        "musedata": "e8d9eb42",
        "piano_midi": "990a8a71",
    }


def test_the_verbs_list_get_and_prepare(server, tmp_path, monkeypatch, capsys):
    folder, url = server
    one_file(monkeypatch, f"{url}/tinyshakespeare/input.txt")
    data = f"--data-dir={tmp_path / 'data'}"
    monkeypatch.setenv("LSTM_LAB_DATA", "unused")
    assert main(["data", "get", "tinyshakespeare", data]) == 0
    assert capsys.readouterr().out.strip().endswith("tinyshakespeare/input.txt")
    assert main(["data", "list", data]) == 0
    lines = capsys.readouterr().out.splitlines()
    state = {line.split()[0]: line for line in lines if line}
    assert "missing" not in state["tinyshakespeare"]
    assert "lstm-lab data prepare ecg5000 PATH" in state["ecg5000"]
    assert "lstm-lab data get german_credit" in state["german_credit"]
    again = f"--data-dir={tmp_path / 'again'}"
    original = folder / "tinyshakespeare" / "input.txt"
    assert main(["data", "prepare", "tinyshakespeare", str(original), again]) == 0
    assert (tmp_path / "again" / "tinyshakespeare" / "input.txt").read_bytes() == CONTENT
    original.write_bytes(b"changed")
    assert main(["data", "prepare", "tinyshakespeare", str(original), again]) == 2
    assert "has sha256" in capsys.readouterr().err


def test_a_set_without_an_address_names_its_page_and_the_command(tmp_path):
    with pytest.raises(
        UserError, match=r"cannot be downloaded; get .* from https://www.timeseries"
    ):
        locate("ecg5000/ECG5000_TRAIN.txt", tmp_path)
    with pytest.raises(UserError, match=r"lstm-lab data prepare ecg5000 PATH"):
        get("ecg5000", tmp_path)


def test_an_archive_is_downloaded_and_converted(server, tmp_path, monkeypatch):
    folder, url = server
    archive = folder / "imdb.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for part in ("train", "test"):
            file.writestr(f"aclImdb/{part}/neg/0_3.txt", "dull")
            file.writestr(f"aclImdb/{part}/pos/0_9.txt", "fine<br />film")
    source = Source(
        "imdb/aclImdb.zip", f"{url}/imdb.zip", hashlib.sha256(archive.read_bytes()).hexdigest()
    )
    monkeypatch.setitem(DATA_SETS, "imdb", replace(DATA_SETS["imdb"], archive=source))
    paths = get("imdb", tmp_path / "data")
    assert [path.name for path in paths] == ["train.jsonl.gz", "test.jsonl.gz"]
    assert not (tmp_path / "data" / source.path).exists()
    assert b"fine<br />film" in gzip.decompress(paths[0].read_bytes())
    assert set(paths[0].parent.iterdir()) == set(paths)


def test_only_these_files_have_no_hash_of_their_own():
    unknown = {s.path for d in DATA_SETS.values() for s in d.files if s.sha256 is None}
    assert unknown == {
        *("imdb/train.jsonl.gz", "imdb/test.jsonl.gz"),  # that of the archive is known
        "ecg5000/ECG5000_TRAIN.txt",
    }


def test_a_converted_download_is_checked(server, tmp_path, monkeypatch):
    folder, url = server
    original = b"A11 6 A34 1169 1\nA12 48 A32 5951 2\n"
    (folder / "german.data").write_bytes(original)
    archive = replace(
        DATA_SETS["german_credit"].archive,
        url=f"{url}/german.data",
        sha256=hashlib.sha256(original).hexdigest(),
    )
    table = hashlib.sha256(original.replace(b" ", b",")).hexdigest()
    for sha256 in ("0" * 64, table):
        files = (Source("german_credit/german.csv", None, sha256),)
        entry = replace(DATA_SETS["german_credit"], archive=archive, files=files)
        monkeypatch.setitem(DATA_SETS, "german_credit", entry)
        if sha256 != table:
            with pytest.raises(UserError, match=rf"has sha256 {table}, expected 0{{64}}"):
                get("german_credit", tmp_path / "data")
            assert list((tmp_path / "data" / "german_credit").iterdir()) == []
    (path,) = get("german_credit", tmp_path / "data")
    assert path.read_bytes() == original.replace(b" ", b",")
    # A mirror has the table itself, with the same hash.
    (folder / "german_credit").mkdir()
    (folder / "german_credit" / "german.csv").write_bytes(path.read_bytes())
    monkeypatch.setenv("LSTM_LAB_MIRROR", str(folder))
    get("german_credit", tmp_path / "mirrored")
    (folder / "german_credit" / "german.csv").write_bytes(b"A11,6,1\n")
    with pytest.raises(UserError, match=rf"got sha256 \w{{64}}, expected {table}"):
        get("german_credit", tmp_path / "changed")


def test_a_mirror_has_the_archive_of_files_without_a_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_LAB_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "imdb").mkdir(parents=True)
    for name in ("train.jsonl.gz", "aclImdb_v1.tar.gz"):
        (tmp_path / "mirror" / "imdb" / name).write_bytes(b"unknown")
    with pytest.raises(
        UserError, match=r"train.jsonl.gz is missing .*got sha256 .* expected c40f7"
    ):
        get("imdb", tmp_path / "data")
    assert list((tmp_path / "data" / "imdb").iterdir()) == []


def test_a_hash_of_recordings_is_that_of_sha256sum(server, tmp_path, monkeypatch):
    folder, url = server
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for name in ("1_b_0.wav", "0_a_10.wav", "0_a_1.wav"):
        (recordings / name).write_bytes(name.encode() * 50)
    command = "LC_ALL=C; export LC_ALL; sha256sum *.wav | sha256sum"
    done = subprocess.run(["sh", "-c", command], cwd=recordings, capture_output=True, text=True)
    sha256 = done.stdout.split()[0]
    source = Source("fsdd/fsdd.tar.gz", f"{url}/a.tar.gz", sha256, recordings=True)
    monkeypatch.setitem(DATA_SETS, "fsdd", replace(DATA_SETS["fsdd"], files=(source,)))
    for number, place in enumerate(("repository-26eb9aa/recordings", "recordings")):
        with tarfile.open(folder / "a.tar.gz", "w:gz", compresslevel=number + 1) as tar:
            tar.add(recordings, place)
            tar.add(__file__, "repository-26eb9aa/README.md")
        get("fsdd", tmp_path / f"{number}")
    # A copy that is packed anew has the same hash, and a damaged one is an error in one line.
    download.prepare("fsdd", recordings, tmp_path / "prepared")
    content = (folder / "a.tar.gz").read_bytes()
    (folder / "a.tar.gz").write_bytes(content[: len(content) // 3])
    with pytest.raises(UserError, match=r"fsdd.tar.gz is missing and its download failed"):
        get("fsdd", tmp_path / "damaged")
    (recordings / "0_a_1.wav").write_bytes(b"another one")
    with pytest.raises(UserError, match=rf"has sha256 \w{{64}}, expected {sha256}"):
        download.prepare("fsdd", recordings, tmp_path / "other")


def test_offline_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTM_LAB_OFFLINE", "1")
    with pytest.raises(UserError, match="LSTM_LAB_OFFLINE forbids downloads; put https.*JSB"):
        locate("jsb/JSB_Chorales.mat", tmp_path)
    assert not list(tmp_path.iterdir())
