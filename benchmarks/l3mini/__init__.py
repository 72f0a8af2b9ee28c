"""How l3mini was made, and what was tried on the way: `labbook.md` tells the story, the modules repeat it.

Rule: choices are made on the pool of unlabelled sounds; only `l3mini_table` and `student_gains` read evaluation sets.
"""
