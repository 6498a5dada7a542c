"""Penn Treebank by words: the small model of Zaremba, Sutskever and Vinyals 2014.

Command: lstm-lab reproduce ptb_small
Data: ptb/ptb.{train,valid,test}.txt, downloaded, or under --data_dir or $LSTM_LAB_DATA.
"""

from lstm_lab.configs import ptb

from lstm_lab.studies import Reference, Scores, Study, grid

TUTORIAL = "TensorFlow's tutorial, rnn/ptb"


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="ptb_small",
        title="Penn Treebank, the small model of Zaremba et al. 2014",
        base=ptb.get_config(),
        axes=(grid("model.cell", ("np",)),),
        seeds=(0,),
        claims=(Scores("np", "perplexity", at_most=117.0, source=f"115.91, {TUTORIAL}"),),
        references=(
            Reference("small model, tutorial", 115.91, TUTORIAL),
            Reference("small model, repository", 115.0, "the authors' repository"),
            Reference("small model, paper", 114.5, "Zaremba et al. 2014, quoted second-hand"),
        ),
    )
