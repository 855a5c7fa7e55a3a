"""Every interleaving, loss, duplicate and crash of the user's real payment code, within bounds."""

from .app import check_app as check_app
from .app import verify_app as verify_app
from .bounds import BOUNDS as BOUNDS
from .bounds import Bound as Bound
from .bounds import Scene as Scene
from .contract import check_store as check_store
from .hidden import HiddenInput as HiddenInput
from .hidden import HiddenState as HiddenState
from .own import Own as Own
from .own import always as always
from .own import eventually as eventually
from .own import on_change as on_change
from .own import sometimes as sometimes
from .properties import View as View
from .replaying import replay as replay
from .shop import Shop as Shop
from .stateless import ResetStore as ResetStore
from .stateless import check_stateless as check_stateless
from .verdict import Result as Result
from .verify import check as check
from .verify import verify as verify
