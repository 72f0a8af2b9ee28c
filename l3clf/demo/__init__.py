"""The tour behind `l3clf demo`, and the synthetic sounds that it uses."""
