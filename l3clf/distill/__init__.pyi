from .distiller import distil as distil
from .examples import Augmentation as Augmentation
from .fine_tuning import FineTuned as FineTuned
from .fine_tuning import fine_tune as fine_tune
from .training import Schedule as Schedule
from .training import Trainer as Trainer
