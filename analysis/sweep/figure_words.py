"""Columns of a sweep's table in words, for titles and axes: no reader knows field paths."""

from collections.abc import Iterator, Mapping, Sequence

_UNITS: Mapping[str, str] = {
    "inferences_per_s": "per second",
    "ms": "ms",
    "s": "s",
    "mbit": "Mbit/s",
    "bytes": "bytes",
    "share": "share, 0 to 1",
    "percent": "%",
    "bdp": "bandwidth-delay products",
}
_ENTRIES: Mapping[str, tuple[str, ...]] = {
    "links": ("link {}", "{}"),
    "loads": ("link {}", "{}"),
    "replays": ("link {}", "{}"),
    "pipelines": ("{}",),
    "windows": ("{} compression",),
    "cuts": ("cut {}",),
    "compute": ("computing at {}",),
    "places": ("at {}",),
    "modes": ("mode {}",),
    "ues": ("{}", "{}"),
    "downloads": ("{}", "round {}", "step {}", "attempt {}"),
}
"""Of lists of the summary: what each part of an entry's name says."""

_COUNTED = ("round {}", "step {}")
"""Counted from 0 in the summary, from 1 for readers."""

_WORDS: Mapping[str, str] = {
    "pipeline": "",
    "accordion": "",
    "control": "",
    "a_to_b": "a to b",
    "b_to_a": "b to a",
    "bandwidth_reduction": "bandwidth reduction (Eq. 1)",
    "latency_reduction": "latency reduction (Eq. 2)",
    "met_share": "answered within the deadline",
    "within_share": "frames within the bound",
    "useful_share_median": "blocks that were there, of those that could be, median",
    "excess_share": "above the least time",
    "duration_ms": "time of the download",
    "inferences_per_s": "inferences",
    "busy_share": "busy",
    "median_ms": "median",
    "mean_ms": "mean",
    "p95_ms": "95 %",
    "p99_ms": "99 %",
    "min_ms": "least",
    "max_ms": "most",
}


def figure_title(column: str) -> str:
    """Title of a figure: ``before compression, end to end: median``."""
    *places, leaf = column.split(".")
    place = ", ".join(word for word in _places(places) if word)
    title = f"{place}: {_word(leaf)}" if place else _word(leaf)
    is_name = place.split(", ")[0] in places  # a host is called as it is called
    return title if is_name else title[0].upper() + title[1:]


def figure_unit(column: str) -> str:
    """Unit of a figure, or its own words where its name has none."""
    leaf = column.split(".")[-1]
    if leaf in _UNITS:
        return _UNITS[leaf]
    parts = leaf.removesuffix("_median").removesuffix("_max").removesuffix("_min").split("_")
    return _UNITS.get(parts[-1], _word(leaf))


def parameter_words(field: str) -> str:
    """A parameter, which is a field of the experiment: its last two names, and its unit."""
    *places, leaf = field.split(".")
    unit = _UNITS.get(leaf.split("_")[-1], "")
    name = _without_unit(leaf) if unit else leaf.replace("_", " ")
    place = places[-1].replace("_", " ") if places else ""
    words = f"{place}: {name}" if place and not place.isdigit() else name
    return f"{words}, {unit}" if unit else words


def _places(parts: Sequence[str]) -> Iterator[str]:
    rest = list(parts)
    while rest:
        name = rest.pop(0)
        if name not in _ENTRIES:
            yield _WORDS.get(name, name.replace("_", " "))
            continue
        for form in _ENTRIES[name]:
            if not rest:
                return
            entry = rest.pop(0)
            if form == "attempt {}" and entry == "1":
                continue
            is_counted = form in _COUNTED and entry.isdigit()
            yield form.format(int(entry) + 1 if is_counted else _WORDS.get(entry, entry))


def _word(leaf: str) -> str:
    return _WORDS.get(leaf) or _without_unit(leaf)


def _without_unit(leaf: str) -> str:
    *words, last = leaf.split("_")
    return " ".join(words if words and last in _UNITS else [*words, last])
