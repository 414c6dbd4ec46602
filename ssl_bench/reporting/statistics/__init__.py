"""Statistics of tables as pure functions of arrays: no records, no cells, no words."""
