"""YAML that people read: block style, no anchors, texts of several lines as they are."""

from __future__ import annotations

from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """What stands in two places is written twice: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Several lines stand as they are (`|`)."""
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _text)


def dumped(*documents: Any) -> str:
    """YAML in block style, keys in the order in which they were written."""
    text: str = yaml.dump_all(
        documents, Dumper=_Plain, sort_keys=False, default_flow_style=False, allow_unicode=True, width=110
    )
    return text
