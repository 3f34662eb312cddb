import torch
from torch import nn

from lightning_modules.optim.decay import decay_groups


def test_biases_norms_and_named_matrices_do_not_decay():
    network = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    network.register_parameter("A_log", nn.Parameter(torch.ones(2, 2)))
    names = {parameter: name for name, parameter in network.named_parameters()}
    decayed, spared = decay_groups(network.named_parameters(), spared="A_log")
    assert [names[p] for p in decayed["params"]] == ["0.weight"]
    assert {names[p] for p in spared["params"]} == {"A_log", "0.bias", "1.weight", "1.bias"}
    assert "weight_decay" not in decayed
    assert spared["weight_decay"] == 0.0


def test_without_a_name_every_matrix_decays():
    decayed, spared = decay_groups(nn.Linear(2, 2).named_parameters())
    assert len(decayed["params"]) == len(spared["params"]) == 1
