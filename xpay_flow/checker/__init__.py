"""Every interleaving, loss, duplicate and crash of the user's real payment code, within bounds."""

from .bounds import BOUNDS as BOUNDS
from .bounds import Bound as Bound
from .bounds import Scene as Scene
from .histories import HiddenState as HiddenState
from .shop import Shop as Shop
from .verdict import Result as Result
from .verify import check as check
from .verify import verify as verify
