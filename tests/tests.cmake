# Tests larger than one module, as CTest entries.
