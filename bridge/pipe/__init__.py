"""`segue pipe`: JSON lines in and out, for programs that start others."""
