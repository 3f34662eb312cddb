import torch

from metrics.functional.unique import picture_numbers


def pictures(seed, n=6, height=5, width=7):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_equal_pictures_share_a_number_in_any_batch():
    a = pictures(0)
    numbers = picture_numbers(a)
    assert numbers.dtype == torch.int64
    assert len(set(numbers.tolist())) == 6
    assert int(numbers.min()) >= 0
    picked = torch.tensor([3, 3, 1, 0, 5])
    assert torch.equal(picture_numbers(a[picked]), numbers[picked])
    assert torch.equal(torch.cat([picture_numbers(x[None]) for x in a]), numbers)
    assert torch.equal(picture_numbers(a.contiguous(memory_format=torch.channels_last)), numbers)
    assert torch.equal(picture_numbers(a.clone().requires_grad_()), numbers)


def test_the_number_is_that_of_every_process():
    assert picture_numbers(torch.zeros(1, 3, 2, 2)).tolist() == [5480126606175963921]


def test_a_pixel_a_mirror_and_the_sides_make_another_picture():
    a = pictures(0, n=1, height=6, width=6)
    touched = a.clone()
    touched[0, 2, 5, 5] += 1e-6
    others = [touched, a.flip(3), a.flip(1), a.reshape(1, 3, 4, 9), a.transpose(2, 3)]
    numbers = {int(picture_numbers(x)) for x in (a, *others)}
    assert len(numbers) == 6


def test_no_picture_has_no_number():
    assert picture_numbers(pictures(0)[:0]).shape == (0,)
