from .cost import Cost as Cost
from .cost import measure_costs as measure_costs
from .exporter import export as export
from .signals import Signals as Signals
from .verification import Ledger as Ledger
from .verification import Verification as Verification
from .verification import verify as verify
