import math

import pytest

from vecmill.words.config import SkipgramConfig
from vecmill.words.schedule import learning_rate_at


def rates(schedule, done, **settings):
    config = SkipgramConfig(**{"learning_rate": 0.1, "min_learning_rate": 0.001, "schedule": schedule} | settings)
    return [learning_rate_at(config, each) for each in done]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"kind": "linear"}, [0.1, 0.07525, 0.0505, 0.001]),
        ({"kind": "constant"}, [0.1, 0.1, 0.1, 0.1]),
        ({"kind": "exponential"}, [0.1, 0.1 * 100**-0.25, 0.01, 0.001]),
        ({"kind": "step"}, [0.1, 0.05, 0.025, 0.0125]),
        ({"kind": "step", "n_steps": 2, "factor": 0.001}, [0.1, 0.1, 0.001, 0.001]),
        ({"kind": "cosine"}, [0.1, 0.001 + 0.099 * (1 + math.sqrt(0.5)) / 2, 0.0505, 0.001]),
    ],
)
def test_rates_at_the_start_a_quarter_the_half_and_the_end(schedule, expected):
    assert rates(schedule, [0, 0.25, 0.5, 1]) == pytest.approx(expected)
    # the same after a warm-up, over what is left
    warm = rates(schedule | {"warmup_frac": 0.2}, [0, 0.1, 0.2, 0.4, 0.6, 1])
    assert warm == pytest.approx([0, 0.05, *expected])


def test_nothing_but_warm_up():
    assert rates({"kind": "cosine", "warmup_frac": 1}, [0, 0.5, 1]) == pytest.approx([0, 0.05, 0.1])
