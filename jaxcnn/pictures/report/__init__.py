"""The report of runs: one page of HTML that holds everything it shows, and needs no network."""
