"""YAML as people write it: a key that is given twice is a mistake, and mistakes have a line."""

from typing import Any

import yaml


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice", node.value[position][0].start_mark
                )
        return super().construct_mapping(node, deep)


def load_strictly(text: str) -> Any:
    """What a document says; ``yaml.YAMLError`` where it is none, or names a key twice."""
    return yaml.load(text, Loader=_UniqueKeys)


def first_line(error: Exception) -> str:
    """What a parser complains of, and where."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is not None and problem:
        return f"line {mark.line + 1}: {problem}"
    return str(error).splitlines()[0]
