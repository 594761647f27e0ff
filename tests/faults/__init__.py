"""What fails around the program: disks, clocks, locks. Each ends in a sentence, or does no harm."""
