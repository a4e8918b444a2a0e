"""What every room uses; it uses no other room."""
