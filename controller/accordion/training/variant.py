"""Other forms of a trained checkpoint: fewer bits, or the smallest weights left out.

The configurations, their order and their BatchNorm statistics stay; the look-up table is measured
anew, for accuracies and bytes are the variant's own.
"""

from pathlib import Path

from controller.accordion.lookup import LookupTable, write_table
from controller.errors import ControllerError
from stage_node.accordion.prefix import PrefixReader
from stage_node.accordion.prefix_writer import write_prefix_checkpoint
from stage_node.data import Dataset, load_dataset
from stage_node.models import load_checkpoint
from stage_node.models.weight_format import FULL, WeightFormat


class BadVariantError(ControllerError):
    """The checkpoint cannot be the source of a variant."""

    exit_status = 2


def write_variant(
    source: Path, weights: WeightFormat, out: Path, data_folder: Path | None = None
) -> LookupTable:
    """Write ``source`` with its weights stored as ``weights``, and the table beside it.

    ``BadVariantError`` where ``source`` is a variant itself: nothing is rounded twice.
    """
    reader = PrefixReader()
    reader.feed(source.read_bytes())
    header = reader.require_header()
    if header.weights != FULL:
        raise BadVariantError(f"{source} is a variant itself ({header.weights.name})")
    model = load_checkpoint(source)
    kept = ("command", "dataset")
    metadata = {name: header.metadata[name] for name in kept if name in header.metadata}
    dataset: Dataset = load_dataset(metadata["dataset"], data_folder)
    own = any(name.startswith("statistics.") for name in header.tensors)
    statistics = {c: dict(reader.load(c).named_buffers()) for c in header.configurations}
    write_prefix_checkpoint(
        out,
        model,
        tuple(header.configurations),
        metadata | {"variant_of": source.name},
        statistics if own else None,
        weights,
    )
    return write_table(out, dataset)
