"""Oil temperature of ETTh1 at five horizons, from the temperature alone.

Command: lstm-lab reproduce etth1
Data: ett/ETTh1.csv, downloaded, or under --data_dir or $LSTM_LAB_DATA.

The published figures are those of Informer's LSTMa (Zhou et al. 2021), an LSTM with attention; they
are of the same months, whose first windows begin in the months before.
"""

from lstm_lab.configs import series

from lstm_lab.studies import Reference, Study, zipped

PUBLISHED = {24: 0.114, 48: 0.193, 168: 0.236, 336: 0.590, 720: 0.683}
CONTEXT = {24: 48, 48: 96, 168: 168, 336: 168, 720: 168}


def get_study() -> Study:
    """Returns the study."""
    settings = {"task.horizon": tuple(CONTEXT), "task.context": tuple(CONTEXT.values())}
    return Study(
        name="etth1",
        title="Oil temperature at five horizons (ETTh1)",
        base=series.get_config("etth1"),
        axes=(zipped(settings),),
        seeds=(0, 1, 2),
        references=tuple(
            Reference(
                f"LSTMa, {horizon} hours",
                mse,
                "Zhou et al. 2021, table of univariate forecasts",
                f"horizon={horizon} context={CONTEXT[horizon]}",
            )
            for horizon, mse in PUBLISHED.items()
        ),
    )
