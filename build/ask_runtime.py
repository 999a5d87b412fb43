"""Runs a classifier where only numpy and some ONNX Runtime are: `MODEL SAMPLES.npz ANSWERS.npz`.

Nothing of ours can be imported there. The samples are arrays named `<number>/<input>`.
"""

import sys
from itertools import groupby

import numpy as np
import onnxruntime


def main(model: str, samples: str, answers: str) -> None:
    """Writes `labels` and `probabilities` of all rows, in the order of the samples."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    labels, probabilities = [], []
    with np.load(samples) as arrays:
        for _, names in groupby(arrays.files, lambda name: name.partition("/")[0]):
            feed = {name.partition("/")[2]: arrays[name] for name in names}
            label, probability = session.run(["label", "probabilities"], feed)
            labels += [str(each) for each in label.reshape(-1)]
            probabilities.append(probability)
    np.savez(answers, labels=np.array(labels), probabilities=np.concatenate(probabilities))


if __name__ == "__main__":
    main(*sys.argv[1:])
