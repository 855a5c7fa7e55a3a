"""Every interleaving and crash on a real store that can be emptied, and cannot be put back."""

from .check import SMALL as SMALL
from .check import StatelessResult as StatelessResult
from .check import check_stateless as check_stateless
from .replay import ResetStore as ResetStore
from .searching import StatelessBound as StatelessBound
from .searching import StatelessSearch as StatelessSearch
from .searching import StatelessSearched as StatelessSearched
