"""What is built: each model of the repository, in the order of what needs what."""

import shutil
from collections.abc import Callable
from pathlib import Path

from build import fingerprint, manifest, model_config, publish
from build.data import checkpoints, digits, reviews
from build.errors import BuildError
from build.manifest import Manifest
from build.publish import VERSION
from build.rnn_settings import RnnTraining
from build.settings import Settings

Built = tuple[Manifest, bool]
"""The manifest of the published version, and whether this build made it."""

_SHARED = ("export.py", "graph_surgery.py", "check.py", "settings.py")
_CNN_SOURCES = ("cnn.py", "data/digits.py", *_SHARED)
_RNN_SOURCES = (
    *("rnn.py", "gru.py", "gru_graph.py", "rnn_settings.py", "batches.py", "data/reviews.py"),
    *_SHARED,
)
_BERT_SOURCES = (
    *("bert.py", "classifier.py", "finetune.py", "fp16.py", "int8.py", "packed.py"),
    *("tokens.py", "variants.py", "batches.py", "data/reviews.py", *_SHARED),
)


def mnist_cnn(settings: Settings) -> Built:
    """Trains, exports, checks and publishes the CNN."""
    folder = settings.repository / "mnist_cnn"
    labels = (folder / "labels.txt").read_text().split()
    made_from = {
        "sources": fingerprint.of_sources(*_CNN_SOURCES),
        "data": digits.digest(),
        "labels": fingerprint.of_text(" ".join(labels)),
        "training": repr(settings.cnn_training),
    }

    def make(into: Path) -> dict[str, object]:
        from build import cnn

        return cnn.build(labels, settings.cnn_training, into)

    return publish.ensure(folder, made_from, make)


def sentiment_bert(settings: Settings) -> Built:
    """Loads, fine-tunes if needed, exports, checks and publishes BERT."""
    folder = settings.repository / "sentiment_bert"
    sources = fingerprint.of_sources(*_BERT_SOURCES)
    served = _served_files(folder)
    published = manifest.read(folder / VERSION)
    name = settings.bert
    if settings.keep_checkpoint and published:
        name = str(published.facts["requested"])
        current = published.is_made_from(sources=sources, served=" ".join(served))
        if current and published.is_intact(folder / VERSION):
            return published, False
    checkpoint = checkpoints.find(name)
    made_from = {
        "sources": sources,
        "data": reviews.digest(),
        "checkpoint": fingerprint.of_text(checkpoint.digest()),
        "training": repr(settings.bert_training),
        "served": " ".join(served),
    }

    def make(into: Path) -> dict[str, object]:
        from build import bert

        facts = bert.build(checkpoint, settings.bert_training, into, served)
        return {"requested": name, **facts}

    return publish.ensure(folder, made_from, make)


def sentiment_rnn(settings: Settings) -> Built:
    """Trains, exports, checks and publishes the recurrent network.

    It takes its words from the packaged checkpoint, whatever BERT is served.
    """
    folder = settings.repository / "sentiment_rnn"
    checkpoint = checkpoints.find("")
    training = RnnTraining()
    made_from = {
        "sources": fingerprint.of_sources(*_RNN_SOURCES),
        "data": reviews.digest(),
        "checkpoint": checkpoint.name,
        "training": repr(training),
    }

    def make(into: Path) -> dict[str, object]:
        from build import rnn

        return rnn.build(checkpoint, training, into)

    return publish.ensure(folder, made_from, make)


def mnist_decoder(settings: Settings) -> Built:
    """Publishes the Python model that decodes images."""
    return _python_model(settings.repository / "mnist_decoder", [])


def sentiment_tokenizer(settings: Settings) -> Built:
    """Publishes the Python model that tokenizes, with the tokenizer of the published BERT."""
    tokenizer = settings.repository / "sentiment_bert" / VERSION / "tokenizer.json"
    return _python_model(settings.repository / "sentiment_tokenizer", [tokenizer])


def mnist_explain(settings: Settings) -> Built:
    """Publishes the Python model that explains answers of the CNN."""
    return _python_model(settings.repository / "mnist_explain", [])


def sentiment_explain(settings: Settings) -> Built:
    """Publishes the Python model that explains answers of BERT, with the same tokenizer."""
    tokenizer = settings.repository / "sentiment_bert" / VERSION / "tokenizer.json"
    folder = settings.repository / "sentiment_explain"
    return _python_model(folder, [folder / "explanation.py", tokenizer])


def stream_tokenizer(settings: Settings) -> Built:
    """Publishes the Python model that tokenizes texts that come in pieces."""
    folder = settings.repository / "stream_tokenizer"
    tokenizer = settings.repository / "sentiment_rnn" / VERSION / "tokenizer.json"
    return _python_model(folder, [folder / "pieces.py", tokenizer])


def mnist(settings: Settings) -> Built:
    """Publishes the ensemble of decoder and CNN."""
    return _ensemble(settings.repository / "mnist")


def sentiment(settings: Settings) -> Built:
    """Publishes the ensemble of tokenizer and BERT."""
    return _ensemble(settings.repository / "sentiment")


def sentiment_stream(settings: Settings) -> Built:
    """Publishes the ensemble of that tokenizer and the recurrent network."""
    return _ensemble(settings.repository / "sentiment_stream")


ALL: tuple[Callable[[Settings], Built], ...] = (
    mnist_cnn,
    mnist_decoder,
    mnist,
    mnist_explain,
    sentiment_bert,
    sentiment_tokenizer,
    sentiment,
    sentiment_explain,
    sentiment_rnn,
    stream_tokenizer,
    sentiment_stream,
)


def _served_files(folder: Path) -> list[str]:
    """The files that the configs of a model name."""
    configs = map(model_config.read, model_config.paths_of(folder))
    return sorted(set(map(model_config.served_file, configs)))


def _python_model(folder: Path, files: list[Path]) -> Built:
    files = [folder / "model.py", *files]
    for file in files:
        if not file.is_file():
            raise BuildError(f"{folder.name}: {file} is missing")

    def make(into: Path) -> dict[str, object]:
        for file in files:
            shutil.copyfile(file, into / file.name)
        return {}

    return publish.ensure(folder, {"files": fingerprint.of_files(files)}, make)


def _ensemble(folder: Path) -> Built:
    # Triton wants a version folder of an ensemble too; there is nothing in it to make.
    return publish.ensure(folder, {}, lambda _: {})
