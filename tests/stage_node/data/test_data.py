"""Data sets: the same images in the same parts on every machine, whatever form they lie in."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits

from stage_node.data import load_dataset
from stage_node.data.cifar10 import CIFAR10
from stage_node.data.cifar100 import CIFAR100
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
    with pytest.raises(
        BadModelError, match="unknown data set 'mnist'; known: cifar10, cifar100, digits"
    ):
        load_dataset("mnist")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_archives(folder, cifar, pixels, labels):
    """Both published forms of a tiny CIFAR data set; the test part is its last sixth."""
    flat = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    names = [*cifar.members["train"], *cifar.members["test"]]
    ends = np.linspace(0, len(labels) * 5 // 6, len(names)).astype(int)[1:]
    batches = np.split(np.arange(len(labels)), ends)
    with tarfile.open(folder / cifar.binary, "w:gz") as tar:
        for name, batch in zip(names, batches, strict=True):
            coarse = np.full((len(batch), cifar.label_bytes - 1), 7)
            records = np.concatenate([coarse, labels[batch, None], flat[batch]], axis=1)
            add(tar, f"{cifar.name}-bin/{name}.bin", records.astype(np.uint8).tobytes())
    with tarfile.open(folder / cifar.python, "w:gz") as tar:
        for name, batch in zip(names, batches, strict=True):
            content = {b"data": flat[batch], cifar.label_key: labels[batch].tolist()}
            add(tar, f"{cifar.name}-py/{name}", pickle.dumps(content, protocol=2))


def vouch(cifar, folder, monkeypatch):
    """Let the archives in ``folder`` pass for the published ones."""
    for name in cifar.md5:
        if (folder / name).exists():
            digest = hashlib.md5((folder / name).read_bytes()).hexdigest()
            monkeypatch.setitem(cifar.md5, name, digest)


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=lambda cifar: cifar.name)
def cifar(request):
    return request.param


@pytest.fixture
def archives(tmp_path, cifar, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(len(cifar.classes), dtype=np.uint8), 12)
    pixels = rng.integers(0, 256, (len(labels), 32, 32, 3)).astype(np.uint8)
    write_archives(tmp_path, cifar, pixels, labels)
    vouch(cifar, tmp_path, monkeypatch)
    return tmp_path


def test_both_published_archives_hold_the_same_parts(archives, cifar, tmp_path_factory):
    alone, classes = tmp_path_factory.mktemp("python"), len(cifar.classes)
    (archives / cifar.python).rename(alone / cifar.python)
    binary, python = load_dataset(cifar.name, archives), load_dataset(cifar.name, alone)
    sizes = [len(binary.train), len(binary.validation), len(binary.test)]
    assert sizes == [9 * classes, classes, 2 * classes]
    counts = torch.bincount(binary.validation.labels)
    assert torch.equal(counts, torch.ones(classes, dtype=torch.long))
    for name in ("train", "validation", "test"):
        assert torch.equal(binary.split(name).images, python.split(name).images)
        assert torch.equal(binary.split(name).labels, python.split(name).labels)


def test_the_hundred_classes_are_in_alphabetical_order():
    assert len(set(CIFAR100.classes)) == 100
    assert list(CIFAR100.classes) == sorted(CIFAR100.classes)


def test_an_archive_cut_off_or_altered_is_one_clear_line(archives, cifar):
    for name in (cifar.binary, cifar.python):
        whole = (archives / name).read_bytes()
        for damaged in (whole[:-9], whole[:20] + b"x" + whole[21:], b""):
            (archives / name).write_bytes(damaged)
            with pytest.raises(
                BadModelError, match=r"cut off or altered: its MD5 is \w+, "
            ) as said:
                _ = load_dataset(cifar.name, archives).test
            assert "\n" not in str(said.value)
        (archives / name).unlink()
    (archives / cifar.lossless).write_bytes(b"PK no longer")
    with pytest.raises(BadModelError, match="cut off or altered: File is not a zip file"):
        _ = load_dataset(cifar.name, archives).test


def test_a_pickle_that_would_run_code_is_refused(tmp_path, cifar, monkeypatch):
    class Evil:
        def __reduce__(self):
            return (print, ("owned",))

    with tarfile.open(tmp_path / cifar.python, "w:gz") as tar:
        add(tar, cifar.members["test"][0], pickle.dumps({b"data": Evil()}, protocol=2))
    vouch(cifar, tmp_path, monkeypatch)
    with pytest.raises(BadModelError, match=r"print, which is no array"):
        _ = load_dataset(cifar.name, tmp_path).test


def test_the_archive_is_found_through_the_environment(
    archives, cifar, monkeypatch, tmp_path_factory
):
    monkeypatch.setenv("CONCERTINA_DATA", str(archives))
    assert len(load_dataset(cifar.name).test) == 2 * len(cifar.classes)
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(BadModelError, match=rf"{cifar.binary}.*CONCERTINA_DATA"):
        load_dataset(cifar.name, empty)


@pytest.mark.cifar
def test_the_lossless_archive_holds_the_published_pixels(cifar):
    try:
        data = load_dataset(cifar.name)
    except BadModelError as absent:
        pytest.skip(str(absent))
    assert [len(data.validation), len(data.test)] == [5_000, 10_000]
    classes = len(cifar.classes)
    assert torch.bincount(data.test.labels).tolist() == [10_000 // classes] * classes


def test_a_limited_data_set_has_fewer_validation_images_and_no_fewer_others() -> None:
    whole, limited = load_dataset("digits"), load_dataset("digits").limited(50)
    assert torch.equal(limited.validation.images, whole.validation.images[:50])
    assert torch.equal(limited.validation.labels, whole.validation.labels[:50])
    assert torch.equal(limited.test.images, whole.test.images)
    assert torch.equal(limited.train.labels, whole.train.labels)
    assert len(whole.limited(10_000).validation) == len(whole.validation)
