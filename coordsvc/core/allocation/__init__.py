"""How the allocator decides: its books, who is next, where there is room, what is taken back."""
