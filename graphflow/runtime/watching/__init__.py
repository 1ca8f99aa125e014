"""Looking on at a run, one op after the other: what a step debugger and the search for a NaN are made of."""
