"""Late flights: will one of the 336,776 flights that left New York City in 2013 arrive late?"""
