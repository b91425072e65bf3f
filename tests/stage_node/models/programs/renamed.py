"""Declares a family of models, to be found where a test puts this file."""

from stage_node.models.vgg import VGG


class Renamed(VGG):
    name = "renamed"
