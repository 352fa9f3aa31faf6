"""What every room uses, and what knows neither packages nor vouchers."""
