"""From records to tables and figures: what may stand in a cell, what it says, and how it is written.

The way of a number: `published` and `table_definition` are read, `selection` decides which records may
enter, `cells` makes mean, standard deviation and n of them, `build` puts the blocks together, and
`markdown`, `latex`, `csv_table` write the same table. Nothing here imports torch.
"""
