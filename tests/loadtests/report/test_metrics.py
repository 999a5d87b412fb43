"""The split of a request's time and the mean batch, on metrics in the format of Triton."""

import math

import pytest

from loadtests.report.metrics import (
    PARTS,
    Scrape,
    counted_between,
    mean_batch,
    read_counters,
    split,
)

MODELS = ["sentiment", "sentiment_tokenizer", "sentiment_bert"]


def exposition(**values: tuple[float, ...]) -> str:
    """Triton's text: for each model its counters in the order of `NAMES`."""
    names = {
        "nv_inference_request_success": "Number of successful inference requests",
        "nv_inference_count": "Number of inferences performed",
        "nv_inference_exec_count": "Number of model executions performed",
        "nv_inference_request_duration_us": "Cumulative inference request duration",
        "nv_inference_queue_duration_us": "Cumulative inference queuing duration",
        "nv_inference_compute_input_duration_us": "Cumulative compute input duration",
        "nv_inference_compute_infer_duration_us": "Cumulative compute inference duration",
        "nv_inference_compute_output_duration_us": "Cumulative compute output duration",
    }
    lines = []
    for place, (name, text) in enumerate(names.items()):
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
        lines += [
            f'{name}{{model="{model}",version="1"}} {counters[place]}'
            for model, counters in values.items()
        ]
    lines += ["# TYPE nv_cpu_utilization gauge", "nv_cpu_utilization 0.5", ""]
    return "\n".join(lines)


BEFORE = exposition(
    sentiment=(10, 10, 10, 100_000, 0, 0, 0, 0),
    sentiment_tokenizer=(10, 10, 10, 9_000, 1_000, 500, 5_000, 500),
    sentiment_bert=(10, 10, 5, 80_000, 20_000, 1_000, 55_000, 2_000),
    other=(99, 99, 99, 99, 99, 99, 99, 99),
)
AFTER = exposition(
    sentiment=(110, 110, 110, 2_100_000, 0, 0, 0, 0),
    sentiment_tokenizer=(110, 110, 60, 109_000, 51_000, 10_500, 45_000, 2_500),
    sentiment_bert=(110, 110, 30, 1_880_000, 720_000, 21_000, 1_055_000, 42_000),
    other=(199, 199, 199, 199, 199, 199, 199, 199),
)


def recorded() -> list[Scrape]:
    return [
        Scrape(100.0, read_counters(BEFORE, MODELS)),
        Scrape(110.0, read_counters(AFTER, MODELS)),
    ]


def test_of_an_ensemble_the_parts_are_added_up() -> None:
    counted = {model: counted_between(recorded(), model, 100, 110) for model in MODELS}
    found = split(
        counted["sentiment"],
        [counted["sentiment_tokenizer"], counted["sentiment_bert"]],
        latency_ms=25.0,
        late_ms=1.5,
    )
    # 100 requests; the server took 2,000 ms for them, 20 each.
    assert found.queue == pytest.approx((50 + 700) / 100)
    assert found.input == pytest.approx((10 + 20) / 100)
    assert found.compute == pytest.approx((40 + 1000) / 100)
    assert found.output == pytest.approx((2 + 40) / 100)
    assert found.other == pytest.approx(20 - 7.5 - 0.3 - 10.4 - 0.42)
    assert found.network == pytest.approx(25 - 1.5 - 20)
    assert sum(getattr(found, part) for part in PARTS) == pytest.approx(25.0)


def test_a_plain_model_is_its_own_only_part() -> None:
    counted = counted_between(recorded(), "sentiment_bert", 100, 110)
    found = split(counted, [counted], latency_ms=19.0, late_ms=0.0)
    assert found.queue + found.input + found.compute + found.output == pytest.approx(17.6)
    assert found.other == pytest.approx(0.4)
    assert found.network == pytest.approx(1.0)


def test_between_two_scrapes_counters_grow_evenly() -> None:
    half = counted_between(recorded(), "sentiment", 102.5, 107.5)
    assert half["requests"] == pytest.approx(50)


def test_the_mean_batch_is_inferences_by_executions() -> None:
    assert mean_batch(counted_between(recorded(), "sentiment_bert", 100, 110)) == 4
    assert mean_batch(counted_between(recorded(), "sentiment_tokenizer", 100, 110)) == 2


def test_where_nothing_was_answered_nothing_is_split() -> None:
    still = [recorded()[0], Scrape(110.0, recorded()[0].counters)]
    counted = counted_between(still, "sentiment", 100, 110)
    assert all(math.isnan(getattr(split(counted, [counted], 1, 0), part)) for part in PARTS)
    assert math.isnan(mean_batch(counted))


def test_versions_are_added_and_other_models_left_out() -> None:
    text = BEFORE.replace(
        'nv_inference_count{model="sentiment",version="1"} 10',
        'nv_inference_count{model="sentiment",version="1"} 10\n'
        'nv_inference_count{model="sentiment",version="2"} 5',
    )
    found = read_counters(text, ["sentiment", "never_asked"])
    assert found["sentiment"]["inferences"] == 15
    assert found["never_asked"]["inferences"] == 0
    assert "other" not in found
