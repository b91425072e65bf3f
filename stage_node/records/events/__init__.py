"""The events of a run: typed, append-only, one JSON object per line.

Every process of a run appends to the same ``events.jsonl``; a line is written by one
``write(2)`` on a file opened with ``O_APPEND``, so lines never interleave. Progress bars
and the analysis read the file; it is never rewritten. Times are ``CLOCK_MONOTONIC``.

All kinds are imported here, so that every reader of a log knows them all.
"""

from stage_node.records.events.accordion import (
    Admitted,
    ConfigurationEvaluated,
    ConfigurationReady,
    DownloadEnded,
    FaultInjected,
    LinkLearned,
    Listening,
    ModelOffered,
    ModelRequested,
    SteppedDown,
    StepRefused,
    WindowOpened,
)
from stage_node.records.events.control import ControlBegins, RungChosen
from stage_node.records.events.event import NOW, Emit, Event
from stage_node.records.events.follower import EventFollower
from stage_node.records.events.links import LinkChanged, LinkCommanded
from stage_node.records.events.log import EventLog, read_events
from stage_node.records.events.pipeline import (
    LONE_PIPELINE,
    FrozenHash,
    GenerationActivated,
    ImagesUsed,
    Iteration,
    LoopEnded,
    Measurement,
    PartitionChosen,
)
from stage_node.records.events.run import (
    SERVING_PHASES,
    TOGETHER,
    Message,
    Phase,
    Progress,
    Reached,
    WorkCost,
)

__all__ = [
    "LONE_PIPELINE",
    "NOW",
    "SERVING_PHASES",
    "TOGETHER",
    "Admitted",
    "ConfigurationEvaluated",
    "ConfigurationReady",
    "ControlBegins",
    "DownloadEnded",
    "Emit",
    "Event",
    "EventFollower",
    "EventLog",
    "FaultInjected",
    "FrozenHash",
    "GenerationActivated",
    "ImagesUsed",
    "Iteration",
    "LinkChanged",
    "LinkCommanded",
    "LinkLearned",
    "Listening",
    "LoopEnded",
    "Measurement",
    "Message",
    "ModelOffered",
    "ModelRequested",
    "PartitionChosen",
    "Phase",
    "Progress",
    "Reached",
    "RungChosen",
    "StepRefused",
    "SteppedDown",
    "WindowOpened",
    "WorkCost",
    "read_events",
]
