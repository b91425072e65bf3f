"""Numbers of a few bits, packed: what goes in comes out, and takes no bit too many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_node.wire.packing import (
    INDEX_BITS,
    index_bits,
    pack,
    pack_positions,
    packed_bytes,
    position_bytes,
    unpack,
    unpack_positions,
)

WIDTHS = sorted({*range(1, 9), *INDEX_BITS})


@given(bits=st.sampled_from(WIDTHS), data=st.data())
def test_numbers_survive_and_read_as_written_one_behind_the_other(
    bits: int, data: st.DataObject
) -> None:
    numbers = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = pack(np.array(numbers, np.uint32), bits)
    assert packed.size == packed_bytes(len(numbers), bits)
    written = "".join(f"{number:0{bits}b}" for number in numbers)  # the oracle
    expected = int(written.ljust(8 * packed.size, "0") or "0", 2).to_bytes(packed.size, "big")
    assert packed.tobytes() == expected
    assert unpack(packed, bits, len(numbers)).tolist() == numbers


@pytest.mark.parametrize("size", [0, 5, 7])
def test_bytes_of_another_count_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="are not 8 numbers of 6 bits"):
        unpack(np.zeros(size, np.uint8), 6, 8)


@given(elements=st.integers(1, 3000), data=st.data())
def test_positions_survive_in_the_shorter_of_two_codes(elements: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, elements))
    seed = data.draw(st.integers(0, 1000))
    choose = np.random.default_rng(seed)
    positions = np.stack([np.sort(choose.permutation(elements)[:kept]) for _ in range(3)])
    coded = pack_positions(positions, elements)
    assert coded.shape == (3, position_bytes(elements, kept))
    assert coded.shape[1] <= -(-elements // 8)
    assert coded.shape[1] <= -(-kept * index_bits(elements) // 8)
    assert (unpack_positions(coded, elements, kept) == positions).all()


@given(elements=st.integers(1, 400), data=st.data())
def test_noise_gives_valid_positions_or_is_refused(elements: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, elements))
    size = position_bytes(elements, kept)
    noise = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8)
    try:
        positions = unpack_positions(noise.reshape(1, -1), elements, kept)
    except ValueError:
        return
    assert positions.shape == (1, kept)
    assert (np.diff(positions) > 0).all() and 0 <= positions.min() <= positions.max() < elements
