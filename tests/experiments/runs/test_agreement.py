import pytest
import torch

from experiments.runs import agreement
from experiments.runs.agreement import Agreement, checksums
from lightning_modules.errors import ImpastoError


class Rank:
    """A trainer among two."""

    def __init__(self, number=0, artists=("Ada", "Bruno"), step=3):
        self.world_size, self.is_global_zero, self.global_step, self.num_training_batches = 2, not number, step, 10
        self.datamodule = type("Data", (), {"artists": artists, "paintings_per_artist": (2, 2)})()


@pytest.fixture
def begin(monkeypatch):
    """Return a function that begins on rank 0 beside another rank."""

    def call(other, theirs, weights=None, settings="a"):
        module = torch.nn.Linear(2, 2)
        beside = torch.nn.Linear(2, 2)
        beside.load_state_dict(module.state_dict() | (weights or {}))
        facts = Agreement(settings)._facts(other, beside)

        def gather(ranks, own):
            ranks[:] = [own, facts]

        monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
        Agreement("a").on_train_start(theirs, module)

    return call


def test_ranks_that_agree_begin(begin):
    begin(Rank(1), Rank())


@pytest.mark.parametrize(
    ("other", "more", "name"),
    [
        (Rank(1, artists=("Bruno", "Ada")), {}, "artists"),
        (Rank(1, step=2), {}, "iteration"),
        (Rank(1), {"weights": {"bias": torch.ones(2)}}, "weights"),
        (Rank(1), {"settings": "b"}, "settings"),
        (Rank(1, artists=("Ada",)), {"settings": "b"}, "settings and artists"),
    ],
)
def test_what_differs_is_named(begin, other, more, name):
    with pytest.raises(ImpastoError, match=f"Rank 1 began with other {name} than rank 0"):
        begin(other, Rank(), **more)


def test_the_other_ranks_wait_to_be_ended(begin, monkeypatch):
    waited = []
    monkeypatch.setattr("callbacks.together.time.sleep", waited.append)
    monkeypatch.setattr("callbacks.together.signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        begin(Rank(1, step=2), Rank(1))
    assert stop.value.code == 1
    assert waited == [10.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_every_bit_of_every_tensor_counts(dtype):
    one = torch.arange(6).view(2, 3).T.to(dtype)
    other = one.clone()
    other[2, 1] = 0
    assert checksums({"a": one, "b": torch.tensor(3.0)}) == checksums({"a": one.clone(), "b": torch.tensor(3.0)})
    assert checksums({"a": one}) != checksums({"a": other})
    assert checksums({"a": torch.zeros(3)}) != checksums({"a": -torch.zeros(3)})
    assert checksums({}) == []
    assert agreement.WORDS[one.element_size()]
