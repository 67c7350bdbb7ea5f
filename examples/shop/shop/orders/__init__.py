"""orders: takes orders and knows how far each has come."""
