"""`config.json`: each field is honoured, does not matter for an answer, or is refused.

The export runs the network's own modules, but not its `forward`, and transformers itself
leaves out what it does not know. Either would answer wrongly without a word; so a field that
nobody decided about is refused, too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from build.errors import BuildError

FILENAME = "config.json"

HONOURED = {
    "vocab_size": "of the embeddings, and the largest id that the graph takes",
    "hidden_size": "of the network's modules",
    "num_hidden_layers": "of the network's modules",
    "num_attention_heads": "of the network's modules",
    "intermediate_size": "of the network's modules",
    "max_position_embeddings": "of the network's modules, and the longest row that is taken",
    "type_vocab_size": "of the network's modules; a text is of type 0",
    "hidden_act": "a module of the network, and the export runs it",
    "layer_norm_eps": "of modules of the network, and the export runs them",
    "id2label": "see labels.py",
    "label2id": "see labels.py",
    "num_labels": "see labels.py",
    "_num_labels": "see labels.py",
}

_ONLY_TRAINING = "of training"
_ONLY_GENERATION = "of models that write texts"
_OF_NOBODY = "read by no version of transformers"
_OF_TRANSFORMERS = "says how transformers loads or runs the network, not what it answers"

IRRELEVANT = {
    "hidden_dropout_prob": _ONLY_TRAINING,
    "attention_probs_dropout_prob": _ONLY_TRAINING,
    "classifier_dropout": _ONLY_TRAINING,
    "initializer_range": _ONLY_TRAINING,
    "gradient_checkpointing": _ONLY_TRAINING,
    "finetuning_task": _ONLY_TRAINING,
    "tie_word_embeddings": "of a head that predicts words",
    "tie_encoder_decoder": "of a head that predicts words",
    "tie_last_hidden_states": "of hidden states, which are not asked for",
    "pad_token_id": "what is padded is masked, and the export leaves it out",
    "bos_token_id": _ONLY_GENERATION,
    "eos_token_id": _ONLY_GENERATION,
    "cls_token_id": "of the tokenizer, which is compared",
    "sep_token_id": "of the tokenizer, which is compared",
    "mask_token_id": "of the tokenizer, which is compared",
    "tokenizer_class": "of the tokenizer, which is compared",
    "use_cache": _ONLY_GENERATION,
    "cross_attention_hidden_size": _ONLY_GENERATION,
    "prefix": _ONLY_GENERATION,
    "task_specific_params": _ONLY_GENERATION,
    "output_past": _ONLY_GENERATION,
    "output_attentions": "a further output, which is not asked for",
    "output_hidden_states": "a further output, which is not asked for",
    "chunk_size_feed_forward": "the same sums in pieces",
    "_attn_implementation": "the same sums in another order",
    "attn_implementation": "the same sums in another order",
    "dtype": "all weights are read as FP32",
    "torch_dtype": "all weights are read as FP32",
    "_name_or_path": _OF_TRANSFORMERS,
    "_commit_hash": _OF_TRANSFORMERS,
    "transformers_version": _OF_TRANSFORMERS,
    "torchscript": _OF_TRANSFORMERS,
    "use_bfloat16": _OF_TRANSFORMERS,
    "xla_device": _OF_TRANSFORMERS,
    "directionality": _OF_NOBODY,
    "language": _OF_NOBODY,
    "name": _OF_NOBODY,
    "pooler_fc_size": _OF_NOBODY,
    "pooler_num_attention_heads": _OF_NOBODY,
    "pooler_num_fc_layers": _OF_NOBODY,
    "pooler_size_per_head": _OF_NOBODY,
    "pooler_type": _OF_NOBODY,
}

REQUIRED: dict[str, tuple[tuple[object, ...], str]] = {
    "model_type": (("bert",), "other networks are not exported"),
    "problem_type": (
        ("single_label_classification",),
        "probabilities are served that add up to 1, by softmax",
    ),
    "position_embedding_type": (("absolute",), "relative positions are not exported"),
    "is_decoder": ((False,), "attention is to the tokens on both sides"),
    "is_encoder_decoder": ((False,), "an encoder alone is exported"),
    "add_cross_attention": ((False,), "an encoder alone is exported"),
    "return_dict": ((True,), "answers are read by name"),
    "pruned_heads": (({},), "every layer has the same number of heads"),
    "per_layer_config": (({},), "every layer is of the same kind"),
    "quantization_config": (({},), "weights are read as they are"),
    "auto_map": (({},), "code that comes with a checkpoint is not run"),
    "adapters": (({},), "adapters have to be merged into the weights"),
}
"""What has to be one of these values, where it is given, and why."""

ENCODERS = ("BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForNextSentencePrediction")
CLASSIFIER = "BertForSequenceClassification"
"""The heads of token classification and multiple choice are called `classifier`, too."""


def read(folder: Path) -> dict[str, Any]:
    """Reads the config of a checkpoint.

    Raises:
        BuildError: It is not a JSON object, or has a field that is not served.
    """
    try:
        config = json.loads((folder / FILENAME).read_text())
    except ValueError as error:
        raise BuildError(f"{FILENAME} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise BuildError(f"{FILENAME} is not a JSON object")
    check(config)
    if (folder / "adapter_config.json").exists():
        raise BuildError(
            "there is an adapter_config.json; merge the adapter into the weights (merge_and_unload)"
        )
    return config


def check(config: Mapping[str, Any]) -> None:
    """Refuses what is not served.

    Raises:
        BuildError: It names the field, its value and what is served.
    """
    for name, (served, why) in REQUIRED.items():
        value = config.get(name)
        if (value is None and name != "model_type") or value in served:
            continue
        only = " or ".join(json.dumps(each) for each in served)
        raise BuildError(
            f"{FILENAME}: {name} is {json.dumps(value)}, served is {only}, since {why}"
        )
    if not _is_count(layers := config.get("num_hidden_layers", 12)):
        raise BuildError(f"{FILENAME}: num_hidden_layers is {json.dumps(layers)}, served is 1 on")
    unknown = [name for name, value in config.items() if value is not None and not decided(name)]
    if unknown:
        raise BuildError(
            f"{FILENAME}: {', '.join(unknown[:5])} "
            f"{'is' if len(unknown) == 1 else 'are'} not known, so whether the answers depend on "
            "it is not known either; remove from the file what they do not depend on"
        )


def check_architecture(config: Mapping[str, Any], *, trained: bool) -> None:
    """Refuses the heads of other tasks.

    Args:
        config: Of the checkpoint.
        trained: Whether it has a head called `classifier`.

    Raises:
        BuildError: The head is of another task than classifying texts.
    """
    served = (CLASSIFIER,) if trained else ENCODERS
    for name in config.get("architectures") or ():
        if name == CLASSIFIER and not trained:
            raise BuildError(
                f"{FILENAME}: architectures is {json.dumps(name)}, but the weights have no "
                "classifier.weight and classifier.bias; save it with save_pretrained"
            )
        if name not in served:
            raise BuildError(
                f"{FILENAME}: architectures is {json.dumps(name)}, served "
                f"{'with' if trained else 'without'} a trained head is {' or '.join(served)}"
            )


def decided(name: str) -> bool:
    """Whether it is known what a field of a config means for the answers."""
    return name in {*HONOURED, *IRRELEVANT, *REQUIRED, "architectures"} or name in _generation()


def _generation() -> set[str]:
    """How models write texts, which older versions of transformers saved with every config."""
    from transformers import GenerationConfig

    return set(GenerationConfig().to_dict())


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
