"""Oil temperature of ETTh1 at five horizons, from the temperature alone.

Command: lstm-lab reproduce etth1
Data: ett/ETTh1.csv, downloaded, or under --data_dir or $LSTM_LAB_DATA.

The published figures are those of Informer's LSTMa (Zhou et al. 2021), an LSTM with attention, and
of NLinear (Zeng et al. 2023), a linear layer that reads 336 hours. They are of the same months,
whose first windows begin in the months before. Every run also has the error of a linear forecast.
"""

from lstm_lab.configs import series

from lstm_lab.studies import Reference, Study, zipped

PUBLISHED = {24: 0.114, 48: 0.193, 168: 0.236, 336: 0.590, 720: 0.683}
LINEAR = {336: 0.081, 720: 0.080}
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
                f"{model}, {horizon} hours",
                mse,
                f"{source}, table of univariate forecasts",
                f"horizon={horizon} context={CONTEXT[horizon]}",
            )
            for model, source, published in (
                ("LSTMa", "Zhou et al. 2021", PUBLISHED),
                ("NLinear", "Zeng et al. 2023", LINEAR),
            )
            for horizon, mse in published.items()
        ),
    )
