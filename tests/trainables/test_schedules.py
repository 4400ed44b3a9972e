import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.schedules import schedules
from trainables.schedules.cosine import Cosine
from trainables.schedules.multistep import Multistep
from trainables.schedules.one_cycle import OneCycle
from trainables.schedules.polynomial import Polynomial


@pytest.mark.parametrize("name", schedules.names())
@given(steps=st.integers(1, 40), epochs=st.integers(1, 12), share=st.just(0.0) | st.floats(1e-30, 0.9))
def test_every_schedule_stays_in_its_bounds_and_reaches_the_full_rate_after_warmup(name, steps, epochs, share):
    warmup = share * epochs
    schedule = schedules.get(name)(name=name, warmup_epochs=warmup)
    factors = [schedule.at(e + s / steps, 1 / steps, epochs) for e in range(epochs) for s in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    ramp = [f for i, f in enumerate(factors) if i / steps < warmup - 1e-9]
    assert ramp == sorted(ramp)
    assert all(factor > 0 for factor in ramp)


def test_warmup_is_linear_and_may_be_a_fraction_of_an_epoch():
    schedule = Cosine(warmup_epochs=0.5)
    assert [schedule.at(step / 10, 0.1, 4) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert schedule.at(0.5, 0.1, 4) == 1.0


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [
        (Cosine(), 0.5, 0.5),
        (Cosine(), 0.25, (1 + math.sqrt(0.5)) / 2),
        (Polynomial(power=2), 0.5, 0.25),
        (Polynomial(power=1), 0.75, 0.25),
        (Multistep(), 0.49, 1.0),
        (Multistep(), 0.5, 0.1),
        (Multistep(milestones=(0.2, 0.6), drop=0.5), 0.7, 0.25),
        (OneCycle(), 0.0, 1 / 25),
        (OneCycle(), 0.3, 1.0),
        (OneCycle(rise=0.5, start_div=1), 0.25, 1.0),
    ],
)
def test_shapes(schedule, progress, factor):
    assert schedule.factor(progress) == pytest.approx(factor)


def test_one_cycle_falls_to_its_end():
    assert OneCycle().factor(1 - 1e-9) == pytest.approx(1e-4, rel=1e-3)
