"""The grammars' steps in C++, row by row over the same tables as the NumPy path; compiled in seconds at first use."""
