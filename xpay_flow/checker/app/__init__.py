"""Does an app as it stands, with its own tables and its own webhook, fulfil each order once?"""

from .entry import check_app as check_app
from .entry import verify_app as verify_app
from .promises import Ending as Ending
from .report import AppResult as AppResult
from .scenes import Order as Order
from .search import AppBound as AppBound
from .search import AppProgress as AppProgress
