"""The report as one HTML page that opens from disk: tables, runs with everything behind them, curves, galleries.

Pure functions from what was read to text. The page fetches nothing; style and script are written into it.
"""
