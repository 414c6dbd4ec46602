"""What a recipe would cost: `ssl-bench plan`."""
