"""MNIST pixel by pixel in a permuted order: LSTM, chrono and JANET on a part of the images.

Command: lstm-lab reproduce pixel_mnist
Data: as the config mnist.

10,000 of the 55,000 images train, for ten epochs, so that it ends in 18 minutes on one core; the
published figures are of all images and far more updates.
"""

from lstm_lab.configs import mnist

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Reference, Study, grid


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="pixel_mnist",
        title="Permuted MNIST, 10,000 images",
        base=with_values(mnist.get_config("permuted"), {"task.train_size": 10_000}),
        axes=(grid("model.cell", ("lstm", "chrono", "janet")),),
        seeds=(0,),
        baseline="lstm",
        references=(
            Reference("LSTM, all images", 0.857, "Bai et al. 2018 (TCN)", "lstm"),
            Reference("LSTM, all images", 0.902, "Cooijmans et al. 2017", "lstm"),
            Reference("LSTM, all images", 0.91, "van der Westhuizen and Lasenby 2018", "lstm"),
            Reference("JANET, all images", 0.925, "van der Westhuizen and Lasenby 2018", "janet"),
        ),
    )
