"""Native code for stretches of a Program, generated with llvmlite (the extra `fast`); nothing here runs without it."""
