"""How well `check_equivalent` tells rounding from a fault: right pairs and bugs."""
