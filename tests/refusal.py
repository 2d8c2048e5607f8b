"""What bad data are refused with."""

import pytest

from tapegrad.errors import DataError


def message(call, *args, **kwargs):
    """The one line with which a call refuses its data."""
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text
