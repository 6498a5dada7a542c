"""JSB chorales by the protocol of Bai et al. 2018: LSTM, GRU and a simple RNN.

Command: lstm-lab reproduce jsb_tcn
Data: as the config jsb.
"""

from lstm_lab.experiments.tcn_music import music

from lstm_lab.studies import Study


def get_study() -> Study:
    """Returns the study."""
    published = {"lstm": 8.45, "gru": 8.43, "rnn": 8.91}
    # 300,000 parameters in the paper.
    return music("jsb_tcn", "JSB chorales, protocol of Bai et al. 2018", "jsb", 220, published)
