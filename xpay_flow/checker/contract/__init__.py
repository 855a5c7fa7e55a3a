"""Does a store keep its contract, between any two statements of its driver, and after a crash?"""

from .drivers import DRIVERS as DRIVERS
from .endings import Cut as Cut
from .endings import at_each_driver_call as at_each_driver_call
from .files import a_place as a_place
from .scenes import SCENES as SCENES
from .scenes import Scene as Scene
from .search import DEFAULT as DEFAULT
from .search import check_store as check_store
from .statements import Driver as Driver
from .stories import ContractViolation as ContractViolation
from .targets import contract_of as contract_of
from .verdict import ContractBound as ContractBound
from .verdict import ContractResult as ContractResult
