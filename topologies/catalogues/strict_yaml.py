"""YAML as people write it: a key that is given twice is a mistake, and mistakes have a line."""

from typing import Any

import yaml


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key given twice, whose second value would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice", node.value[position][0].start_mark
                )
        return super().construct_mapping(node, deep)


def load_strictly(text: str) -> Any:
    """Parse a document; ``yaml.YAMLError`` if it is none, or names a key twice."""
    return yaml.load(text, Loader=_UniqueKeys)


def first_line(error: Exception) -> str:
    """Word a parser's complaint, with its place."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is not None and problem:
        return f"line {mark.line + 1}: {problem}"
    return str(error).splitlines()[0]
