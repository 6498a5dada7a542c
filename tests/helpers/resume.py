"""A pytest plugin: tests that passed are left out when the same command starts again.

`python -m pytest -p tests.helpers.resume --resume-log=FILE ...` adds the name of each test that
passed to FILE, one a line. pytest's own `--last-failed` knows only the tests that failed, and a
killed session tells it nothing.
"""

from pathlib import Path


def pytest_addoption(parser):
    parser.addoption("--resume-log", type=Path, help="the file with the names of passed tests")


def pytest_configure(config):
    if config.getoption("--resume-log") is not None:
        config.pluginmanager.register(ResumeLog(config), "resume-log")


class ResumeLog:
    """Reads the file once, before the first test: all processes of xdist leave out the same tests.

    Args:
      config: pytest's configuration.
    """

    def __init__(self, config):
        self.path = config.getoption("--resume-log")
        self.passed = set(self.path.read_text().splitlines()) if self.path.exists() else set()
        # A process of xdist; the one that started it sees all reports.
        self.is_worker = hasattr(config, "workerinput")

    def pytest_collection_modifyitems(self, config, items):
        passed = [item for item in items if item.nodeid in self.passed]
        items[:] = [item for item in items if item.nodeid not in self.passed]
        config.hook.pytest_deselected(items=passed)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed and not self.is_worker:
            with self.path.open("a") as log:
                log.write(f"{report.nodeid}\n")

    def pytest_sessionfinish(self, session):
        # pytest's exit code for "no tests": here it means that all have passed before.
        if session.exitstatus == 5 and self.passed:
            session.exitstatus = 0
