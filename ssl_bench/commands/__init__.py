"""The verbs of the command line, one function each; torch is imported only inside one that needs it."""
