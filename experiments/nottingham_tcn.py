"""Nottingham's tunes by the protocol of Bai et al. 2018: LSTM, GRU and a simple RNN.

Command: lstm-lab reproduce nottingham_tcn
Data: lstm-lab data get nottingham, downloaded, or nottingham/Nottingham.mat under --data_dir or
$LSTM_LAB_DATA.
"""

from lstm_lab.experiments.tcn_music import music

from lstm_lab.studies import Study


def get_study() -> Study:
    """Returns the study."""
    published = {"lstm": 3.29, "gru": 3.46, "rnn": 4.05}
    # A million parameters in the paper.
    title = "Nottingham's tunes, protocol of Bai et al. 2018"
    return music("nottingham_tcn", title, "nottingham", 430, published)
