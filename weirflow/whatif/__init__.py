"""What would have been: recorded traffic under other decisions."""
