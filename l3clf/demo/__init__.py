"""The tour that `l3clf demo` takes, and the sounds it is taken on."""
