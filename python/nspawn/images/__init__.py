"""What root file systems are made from."""
