"""YAML as settings are written in it."""

from typing import Any

import yaml


class _Reader(yaml.SafeLoader):
    """YAML whose keys are words as they were typed: YAML 1.1 takes 0_4 for the number 4, and `on` for true."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping, with keys of text."""
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def read(text: str) -> Any:
    """What a text says; yaml.YAMLError where it is none."""
    return yaml.load(text, _Reader)
