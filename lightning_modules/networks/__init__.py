"""Networks that two methods or more use, and the frozen ones that losses and metrics look through."""
