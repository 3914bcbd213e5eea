"""Events: kinds of dataset and of systematics, the tables that they make, and what there is to say about them."""
