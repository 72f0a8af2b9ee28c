from .cost import Cost as Cost
from .cost import measure_cost as measure_cost
from .export import export as export
from .verify import Ledger as Ledger
from .verify import Verification as Verification
from .verify import verify as verify
