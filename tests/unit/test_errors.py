from __future__ import annotations

import re

import pytest

from soci import errors
from soci.errors import EventBusUnavailable, RegistryUnavailable, SociError, Throttled

CLASSES = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SociError)]
each_error = pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = {}
    parents = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( +(?:│ +)*(?:[├└]── )?)([A-Z]\w+)  +\S", line)
        if match:
            depth = len(match[1]) // 4
            parents[depth] = match[2]
            drawn[match[2]] = parents.get(depth - 1)

    assert drawn == {one.__name__: None if one is SociError else one.mro()[1].__name__ for one in CLASSES}


@each_error
def test_each_error_has_a_sentence(error):
    assert error.__doc__
    assert error.__doc__.splitlines()[0].endswith(".")


@each_error
def test_only_errors_of_a_service_that_did_not_answer_are_retryable(error):
    assert error("message").retryable is issubclass(
        error, EventBusUnavailable | RegistryUnavailable | Throttled
    )
    assert str(error("message")) == "message"
