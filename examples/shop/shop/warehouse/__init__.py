"""warehouse: has the goods, keeps some for orders, sends parcels."""
