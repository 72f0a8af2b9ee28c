from .distiller import distil as distil
from .examples import Augmentation as Augmentation
from .training import Schedule as Schedule
from .training import Trainer as Trainer
