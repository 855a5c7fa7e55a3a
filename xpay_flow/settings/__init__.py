"""Which settings does an operator choose? Keys, addresses, limits; weak values are refused.

`declaration` lists the settings, `checks` looks at one value, `problems` at all of them together,
`live` at the values that live mode forbids, and `environment` reads variables.

No key is ever shown, neither in a repr nor in an error; since a key may stand in the wrong
variable, no error quotes any value.
"""

from .declaration import RECONCILE_SCHEDULE_S, RETRY_SCHEDULE_S, Mode, Settings
from .environment import ENV_PREFIX, STORE_VARIABLE, store_url

__all__ = [
    "ENV_PREFIX",
    "RECONCILE_SCHEDULE_S",
    "RETRY_SCHEDULE_S",
    "STORE_VARIABLE",
    "Mode",
    "Settings",
    "store_url",
]
