"""Checks of the documentation: that links lead somewhere, that the lists of the reference are those
of the code and the template, that commands are sound. And what renders it to be looked at."""
