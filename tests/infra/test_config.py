from __future__ import annotations

import json

import pytest

from infra.config import InvalidConfig, StackConfig
from tests.architecture.source import ROOT


def test_the_defaults_in_cdk_json_are_valid():
    context = json.loads((ROOT / "cdk.json").read_text())["context"]

    assert StackConfig.from_context(context).stack_name == "soci-index-builder"


@pytest.mark.parametrize(
    "context", [{}, {"stack_name": None}, {"stack_name": 7}], ids=["absent", "null", "number"]
)
def test_a_stack_name_of_the_wrong_type_is_refused_by_its_key(context):
    with pytest.raises(InvalidConfig, match=r"stack_name: got .*, want a string"):
        StackConfig.from_context(context)


@pytest.mark.parametrize("name", ["", "1st", "a_b", "a" * 129, "name\n"])
def test_a_stack_name_that_cloudformation_would_refuse_is_refused_here(name):
    with pytest.raises(InvalidConfig, match="stack_name: got"):
        StackConfig(stack_name=name)
