"""Data sets: the same images in the same parts on every machine, whatever form they lie in."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits

from stage_node.data import load_dataset
from stage_node.data.dataset import divide
from stage_node.errors import BadModelError


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_digits_are_scikit_learns_digits_divided_without_overlap():
    data = load_dataset("digits")
    assert [len(data.train), len(data.validation), len(data.test)] == [1197, 300, 300]
    assert data.raw_bytes_per_image == 64
    published = sklearn_digits()
    pixels = torch.cat([s.images for s in (data.train, data.validation, data.test)])
    labels = torch.cat([s.labels for s in (data.train, data.validation, data.test)])
    restored = (pixels * 0.3762 + 0.3053).mul(16).round().reshape(-1, 64).int()
    ours = sorted((row.tobytes(), int(y)) for row, y in zip(restored.numpy(), labels, strict=True))
    theirs = sorted(
        (row.astype(np.int32).tobytes(), int(y))
        for row, y in zip(published.data, published.target, strict=True)
    )
    assert ours == theirs
    assert not rows(data.train.images) & rows(data.test.images)
    assert not rows(data.validation.images) & rows(data.test.images)


def test_every_part_has_its_share_of_every_class():
    data = load_dataset("digits")
    whole = torch.bincount(
        torch.cat([data.split(n).labels for n in ("train", "validation", "test")])
    )
    for name, size in (("validation", 300), ("test", 300)):
        counts = torch.bincount(data.split(name).labels)
        assert torch.all((counts - whole * size / 1797).abs() < 1)


def test_training_images_are_normalised():
    images = load_dataset("digits").train.images
    assert images.dtype == torch.float32
    assert abs(float(images.mean())) < 0.01
    assert abs(float(images.std()) - 1) < 0.01


def test_the_parts_do_not_depend_on_the_order_of_the_archive():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (200, 4, 4, 1)).astype(np.uint8)
    labels = rng.integers(0, 5, 200)
    shuffle = rng.permutation(200)
    for part, other in zip(
        divide(pixels, labels, (30, 50)),
        divide(pixels[shuffle], labels[shuffle], (30, 50)),
        strict=True,
    ):
        assert np.array_equal(part, shuffle[other])


def test_an_unknown_data_set_is_refused():
    with pytest.raises(BadModelError, match="unknown data set 'mnist'; known: cifar10, digits"):
        load_dataset("mnist")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_archives(folder, pixels, labels):
    """Both published forms of a tiny CIFAR-10: five training batches and one test batch."""
    flat = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    batches = np.array_split(np.arange(len(labels)), 6)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name, batch in zip(names, batches, strict=True):
            records = np.concatenate([labels[batch, None], flat[batch]], axis=1)
            add(tar, f"cifar-10-batches-bin/{name}.bin", records.astype(np.uint8).tobytes())
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name, batch in zip(names, batches, strict=True):
            content = {b"data": flat[batch], b"labels": labels[batch].tolist()}
            add(tar, f"cifar-10-batches-py/{name}", pickle.dumps(content, protocol=2))


@pytest.fixture
def archives(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(10, dtype=np.uint8), 12)
    pixels = rng.integers(0, 256, (120, 32, 32, 3)).astype(np.uint8)
    write_archives(tmp_path, pixels, labels)
    return tmp_path


def test_both_published_archives_hold_the_same_parts(archives, tmp_path_factory):
    alone = tmp_path_factory.mktemp("python")
    (archives / "cifar-10-python.tar.gz").rename(alone / "cifar-10-python.tar.gz")
    binary, python = load_dataset("cifar10", archives), load_dataset("cifar10", alone)
    assert [len(binary.train), len(binary.validation), len(binary.test)] == [90, 10, 20]
    assert torch.equal(torch.bincount(binary.validation.labels), torch.ones(10, dtype=torch.long))
    for name in ("train", "validation", "test"):
        assert torch.equal(binary.split(name).images, python.split(name).images)
        assert torch.equal(binary.split(name).labels, python.split(name).labels)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("owned",))

    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        add(tar, "cifar-10-batches-py/test_batch", pickle.dumps({b"data": Evil()}, protocol=2))
    with pytest.raises(BadModelError, match=r"print, which is no array"):
        _ = load_dataset("cifar10", tmp_path).test


def test_the_archive_is_found_through_the_environment(archives, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("CONCERTINA_DATA", str(archives))
    assert len(load_dataset("cifar10").test) == 20
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(BadModelError, match=r"cifar-10-binary.tar.gz.*CONCERTINA_DATA"):
        load_dataset("cifar10", empty)


@pytest.mark.cifar
def test_the_lossless_archive_is_cifar10():
    try:
        data = load_dataset("cifar10")
    except BadModelError as absent:
        pytest.skip(str(absent))
    assert [len(data.validation), len(data.test)] == [5_000, 10_000]
    assert torch.bincount(data.test.labels).tolist() == [1_000] * 10


def test_a_limited_data_set_has_fewer_validation_images_and_no_fewer_others() -> None:
    whole, limited = load_dataset("digits"), load_dataset("digits").limited(50)
    assert torch.equal(limited.validation.images, whole.validation.images[:50])
    assert torch.equal(limited.validation.labels, whole.validation.labels[:50])
    assert torch.equal(limited.test.images, whole.test.images)
    assert torch.equal(limited.train.labels, whole.train.labels)
    assert len(whole.limited(10_000).validation) == len(whole.validation)
