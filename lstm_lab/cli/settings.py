"""Settings of a config on the command line: `--config.PATH=VALUE`.

In: the arguments of a verb, and the name of its config. Out: a `RunSpec`, and the settings as text
for the record of the run. Read `config/overrides.py` next.
"""

from __future__ import annotations

from lstm_lab.config.load import load_spec, read_config
from lstm_lab.config.overrides import parse_overrides
from lstm_lab.config.run_spec import RunSpec

Settings = dict[str, str | None]


def spec_of(config: str, settings: Settings, trust_code: bool = False) -> RunSpec:
    """Returns the spec of a config, changed by the settings of the command line.

    Args:
      config: the value of CONFIG.
      settings: from `take_overrides`.
      trust_code: whether a run.json may name a cell or a task of its own, whose file then runs.

    Raises:
      UserError: for a wrong config or setting.
    """
    mapping = read_config(config, trust_code, settings)
    return load_spec(mapping, parse_overrides(mapping, settings))


def recorded(settings: Settings) -> dict[str, str]:
    """Returns the settings as run.json records them: as the user typed them.

    Args:
      settings: from `take_overrides`.
    """
    # A flag alone means true.
    return {path: "true" if text is None else text for path, text in settings.items()}
