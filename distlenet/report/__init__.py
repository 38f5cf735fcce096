"""The report of a run: figures and one HTML page that needs nothing else. matplotlib is loaded only here."""
