"""``KEY=VALUE``: one field of a file by its dotted path, as the command line takes it."""

from typing import Any

import yaml

from testbed.errors import BadExperimentError
from testbed.experiment.network_section import LinkChoice
from topologies.catalogues.strict_yaml import first_line


def assign(raw: dict[str, Any], assignment: str, option: str = "--set") -> None:
    """Apply one ``a.b.0.c=value`` to a parsed file; the value is YAML.

    A link that is a bare profile name becomes that profile with the field replaced.
    ``BadExperimentError`` names the option by which it was given.
    """
    key, sign, text = assignment.partition("=")
    if not sign or not key:
        raise BadExperimentError(f"{option} {assignment}: expected key=value")
    *parents, last = key.split(".")
    place: Any = raw
    try:
        for part, following in zip(parents, [*parents, last][1:], strict=True):
            child = place.get(part, {}) if isinstance(place, dict) else place[int(part)]
            if isinstance(child, str) and following in LinkChoice.model_fields:
                child = {"profile": child}
            _put(place, part, child)
            place = child
        _put(place, last, yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise BadExperimentError(f"{option} {assignment}: {first_line(error)}") from error
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise BadExperimentError(f"{option} {assignment}: there is no such field") from error


def _put(place: Any, part: str, value: Any) -> None:
    if isinstance(place, dict):
        place[part] = value
    else:
        place[int(part)] = value
